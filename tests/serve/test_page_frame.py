"""What holds for all panels of the page: keyboard, colours, access, errors, order of answers, token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from visits import PASSAGE, browser, folder, sizes, url, visit

__all__ = ["browser", "folder", "url", "visit"]


def test_everything_is_done_by_keyboard_alone(visit):
    page = (at := visit()).page
    press = page.keyboard.press

    def tabbed(selector: str) -> None:
        for _ in range(40):
            press("Tab")
            focused = page.evaluate("(s) => document.activeElement.matches(s)", selector)
            if focused:
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tabbed("#tab-unrolled")
    press("ArrowRight")
    expect(page.locator("#memory")).to_be_visible()
    press("End")
    expect(page.locator("#training")).to_be_visible()
    press("Home")
    expect(page.locator("#unrolled")).to_be_visible()
    tabbed("#sentence")
    page.keyboard.type("we want to eat")
    at.drawn(4)
    second = at.predicted()[1]
    tabbed("#keys button")
    press("ArrowRight")
    expect(page.locator("#keys button").nth(1)).to_be_focused()
    assert (
        page.evaluate(
            """(({ outlineStyle, outlineWidth }) => outlineStyle + outlineWidth)(
              getComputedStyle(document.activeElement))"""
        )
        == "solid2px"
    )
    press("Enter")
    expect(page.locator("#sentence")).to_have_value(f"we want to eat {second}")
    at.drawn(5)
    # the keys are others now, and the same place among them is kept
    expect(page.locator("#keys button").nth(1)).to_be_focused()
    tabbed("#network .word")
    press("End")
    expect(page.locator('#network .word[data-position="4"]')).to_be_focused()
    expect(page.locator("#absence")).to_contain_text("Without")
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator('#network .word[data-position="4"]')).to_be_focused()
    press("Enter")
    expect(page.locator("#expected button").first).to_be_visible()
    tabbed("#expected button")
    press("Enter")
    expect(page.locator("#future")).to_be_visible()
    press("Escape")
    expect(page.locator("#future")).to_be_hidden()
    expect(page.locator("#sentence")).to_be_focused()


def test_colours_follow_the_system_and_the_toggle(visit):
    page = visit(scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    expect(page.locator("#keys button").first).to_be_visible()
    toggle = page.locator("#theme")
    toggle.click()
    light = page.evaluate(ground)
    toggle.click()
    assert (light, page.evaluate(ground)) == ("rgb(255, 255, 255)", dark)
    assert dark != light
    toggle.click()
    assert page.evaluate(ground) == dark


@sizes
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_panel_is_accessible_and_as_wide_as_the_window(visit, size, scheme):
    page = (at := visit(size, scheme=scheme)).page
    shots = os.environ.get("ELMAN_SCREENSHOTS")

    def look(panel: str) -> None:
        found = Axe().run(page).response["violations"]
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, (panel, serious)
        width = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(width) <= 0, panel
        if shots:
            name = Path(shots) / f"{panel}-{size}-{scheme}.png"
            page.screenshot(path=name, full_page=True)

    look("empty")
    at.write("my sister likes to eat")
    look("unrolled")
    page.locator('#network .word[data-position="2"] .cell').click()
    expect(page.locator("#expected button").first).to_be_visible()
    look("replace")
    page.get_by_label("Another word").fill("hates")
    page.keyboard.press("Enter")
    expect(page.locator("#future")).to_be_visible()
    look("future")
    at.read(PASSAGE)
    look("memory")
    at.tab("Series")
    look("why-not")
    at.tab("Training")
    page.get_by_label("Run").select_option(label="meals")
    expect(page.locator("#curves svg")).to_contain_text("held out")
    expect(page.locator("#samples li").first).to_be_visible()
    look("training")
    at.choose("sales")
    at.tab("Series")
    expect(page.locator("#answer svg")).to_be_visible()
    look("forecast")
    at.choose("mood")
    page.get_by_label("A text to label").fill("what a bad day")
    expect(page.locator("#answer svg")).to_contain_text("bad")
    look("labelled")
    at.choose("tags")
    page.get_by_label("Words to label").fill("I hate tea")
    expect(page.locator("#labels button")).to_have_count(3)
    look("tags")


def test_what_the_server_refuses_is_a_line_and_the_next_answer_clears_it(visit):
    page = (at := visit()).page
    at.write("we like")
    fault = {"error": {"type": "x", "message": "too <b>much</b> at once", "code": None}}
    page.route("**/v1/unroll", lambda route: route.fulfill(status=429, json=fault))
    page.locator("#sentence").press_sequentially(" to")
    expect(page.get_by_role("alert")).to_have_text("too <b>much</b> at once")
    expect(page.locator("#network svg")).to_be_visible()
    page.unroute("**/v1/unroll")
    page.locator("#sentence").press_sequentially(" eat")
    at.drawn(4)
    expect(page.get_by_role("alert")).to_be_empty()
    page.route("**/v1/unroll", lambda route: route.abort())
    page.locator("#sentence").press_sequentially(" it")
    expect(page.get_by_role("alert")).to_contain_text("the server does not answer")
    at.expected = "Failed to load resource"


def test_an_answer_older_than_the_newest_key_press_is_dropped(visit):
    page = (at := visit()).page
    at.write("we like")
    held, asked = at.hold("/v1/unroll"), at.asked("/v1/unroll")
    # the bars of the last key are there
    last = {"model": "meals", "input": "we like to", "k": 8}
    with page.expect_response(lambda one: one.request.post_data_json == last):
        page.locator("#sentence").press_sequentially(" to")
    assert len(asked) == 1  # those of the keys in between wait for it, and only the newest of them
    assert held[0].request.post_data_json["input"] != "we like to"
    wrong = {"tokens": ["old"], "predictions": [{"token": "old", "probability": 1}], "svg": None}
    held[0].fulfill(json=wrong | {"explanation": None})
    at.drawn(3)
    assert "old" not in at.predicted()


def test_what_was_asked_of_a_model_is_not_shown_under_another(visit):
    page = (at := visit()).page
    future, stop = page.locator("#future"), page.get_by_role("button", name="Stop")
    at.write("we like to eat")
    replaced = at.hold("/v1/replace")
    page.locator('#network .word[data-position="1"] .cell').click()
    page.get_by_label("Another word").fill("hate")
    page.keyboard.press("Enter")
    at.until(lambda: replaced)
    at.choose("letters")
    at.let_go(replaced)
    expect(future).to_be_hidden()

    written = at.hold("/v1/generate")
    page.get_by_role("button", name="Write on").click()
    at.until(lambda: written)
    expect(stop).to_be_visible()
    at.choose("meals")
    expect(stop).to_be_hidden()

    at.read(PASSAGE)
    found = at.hold("/v1/units/like")
    page.get_by_label("Like the phrase").fill("to eat")
    page.get_by_role("button", name="Find its units").click()
    at.until(lambda: found)
    at.choose("letters")
    expect(page.locator("#coloured .tone").nth(len(PASSAGE) - 1)).to_be_attached()
    at.let_go(found)
    expect(page.locator("#places-title")).to_be_hidden()
    expect(page.locator("#units-note")).not_to_contain_text("phrase")


def test_of_two_replacements_the_later_is_shown_until_the_sentence_changes(visit):
    page = (at := visit()).page
    at.write("we like to eat")
    held, asked = at.hold("/v1/replace"), at.asked("/v1/generate")
    for word in ("hate", "want"):
        page.locator('#network .word[data-position="1"] .cell').click()
        page.get_by_label("Another word").fill(word)
        page.keyboard.press("Enter")
        at.until(lambda: held)
    assert len(asked) == 2  # the later waits
    at.let_go(held)
    expect(page.locator("#future-title")).to_have_text("If like were want")
    page.get_by_role("button", name="Keep it so").click()
    expect(page.locator("#sentence")).to_have_value("we want to eat")
    at.drawn(4)
    page.locator('#network .word[data-position="1"] .cell').click()
    page.get_by_label("Another word").fill("hate")
    page.keyboard.press("Enter")
    expect(page.locator("#future")).to_be_visible()
    page.locator("#sentence").press_sequentially(" it")
    expect(page.locator("#future")).to_be_hidden()


def test_a_panel_that_is_none_is_the_first(visit):
    page = (at := visit()).page
    page.goto(f"{at.url}/?panel=constructor")
    expect(page.locator("#keys button").first).to_be_visible()


def test_a_server_with_a_token_asks_for_it(visit, folder, start):
    with start(folder / "meals.safetensors", token="open sesame") as server:
        context = visit().page.context
        page = context.new_page()
        page.goto(server.url)
        box = page.get_by_role("dialog")
        expect(box).to_contain_text("asks for its token")
        box.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(box).to_be_visible()
        box.get_by_label("Token").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#card")).to_contain_text("gru")
        expect(box).to_be_hidden()
        assert "sesame" not in page.content()
        page.close()
