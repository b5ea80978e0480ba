"""Behaviour shared by all panels of the page: keyboard, colours, accessibility, errors, order of answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from visits import PASSAGE, Visit, browser, folder, sizes, url, visit

__all__ = ["browser", "folder", "url", "visit"]


def test_everything_works_with_the_keyboard_alone(visit: Callable[..., Visit]) -> None:
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
    # the keys have changed, and the focus stays at the same position
    expect(page.locator("#keys button").nth(1)).to_be_focused()
    tabbed("#network .word")
    press("End")
    expect(page.locator('#network .word[data-position="4"]')).to_be_focused()
    expect(page.locator("#absence")).to_contain_text("is replaced by")
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


def test_colours_follow_the_system_and_the_toggle(visit: Callable[..., Visit]) -> None:
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
def test_every_panel_is_accessible_and_as_wide_as_the_window(
    visit: Callable[..., Visit], size: str, scheme: str
) -> None:
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
    expect(page.locator("#curves svg")).to_contain_text("validation")
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


def test_an_error_is_one_line_and_the_next_answer_clears_it(visit: Callable[..., Visit]) -> None:
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


def test_an_answer_to_an_older_key_press_is_dropped(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.write("we like")
    held, asked = at.hold("/v1/unroll"), at.asked("/v1/unroll")
    # the predictions after the last key press are shown
    last = {"model": "meals", "input": "we like to", "k": 8}
    with page.expect_response(lambda one: one.request.post_data_json == last):
        page.locator("#sentence").press_sequentially(" to")
    assert len(asked) == 1  # of the later key presses only the newest waits
    assert held[0].request.post_data_json["input"] != "we like to"
    wrong = {"tokens": ["old"], "predictions": [{"token": "old", "probability": 1}], "svg": None}
    held[0].fulfill(json=wrong | {"explanation": None})
    at.drawn(3)
    assert "old" not in at.predicted()


def test_an_answer_of_the_previous_model_is_dropped(visit: Callable[..., Visit]) -> None:
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
    page.get_by_role("button", name="Continue the text").click()
    at.until(lambda: written)
    expect(stop).to_be_visible()
    at.choose("meals")
    expect(stop).to_be_hidden()

    at.read(PASSAGE)
    found = at.hold("/v1/units/like")
    page.get_by_label("Units that stand out over the phrase").fill("to eat")
    page.get_by_role("button", name="Find units").click()
    at.until(lambda: found)
    at.choose("letters")
    expect(page.locator("#coloured .tone").nth(len(PASSAGE) - 1)).to_be_attached()
    at.let_go(found)
    expect(page.locator("#places-title")).to_be_hidden()
    expect(page.locator("#units-note")).not_to_contain_text("phrase")


def test_the_later_of_two_replacements_is_shown_until_the_text_changes(
    visit: Callable[..., Visit],
) -> None:
    page = (at := visit()).page
    at.write("we like to eat")
    held, asked = at.hold("/v1/replace"), at.asked("/v1/generate")
    page.locator('#network .word[data-position="1"] .cell').click()
    for word in ("hate", "want"):
        page.get_by_label("Another word").fill(word)
        page.keyboard.press("Enter")
        at.until(lambda: held)
    assert len(asked) == 2  # the later one waits
    at.let_go(held)
    expect(page.locator("#future-title")).to_have_text("If like were want")
    page.get_by_role("button", name="Keep the new text").click()
    expect(page.locator("#sentence")).to_have_value("we want to eat")
    at.drawn(4)
    page.locator('#network .word[data-position="1"] .cell').click()
    page.get_by_label("Another word").fill("hate")
    page.keyboard.press("Enter")
    expect(page.locator("#future")).to_be_visible()
    page.locator("#sentence").press_sequentially(" it")
    expect(page.locator("#future")).to_be_hidden()


def test_an_unknown_panel_in_the_address_opens_the_first(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    page.goto(f"{at.url}/?panel=constructor")
    expect(page.locator("#keys button").first).to_be_visible()


def test_the_page_asks_for_the_token(visit: Callable[..., Visit], folder: Path, start: Any) -> None:
    with start(folder / "meals.safetensors", token="open sesame") as server:
        context = visit().page.context
        page = context.new_page()
        page.goto(server.url)
        box = page.get_by_role("dialog")
        expect(box).to_contain_text("requires its token")
        box.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(box).to_be_visible()
        box.get_by_label("Token").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#card")).to_contain_text("gru")
        expect(box).to_be_hidden()
        assert "sesame" not in page.content()
        page.close()


def test_the_page_opens_on_a_panel_that_can_show_the_model(
    visit: Callable[..., Visit], folder: Path, start: Any
) -> None:
    with start(folder / "sales.safetensors") as server:
        page = (at := visit(at=server.url)).page
        expect(page.locator("#ahead svg")).to_be_visible()
        expect(page.get_by_role("tab", name="Memory")).to_have_attribute(
            "title", "not for this model"
        )
        at.tab("Unrolled")
        expect(page.locator("#why-not")).to_contain_text("This panel is for language models")
        page.get_by_role("button", name="Open Series").click()
        expect(page.locator("#why-not")).to_be_hidden()
        expect(page.get_by_role("tab", name="Series")).to_be_focused()
        # a panel in the address stays open and says why it is empty
        page.goto(f"{server.url}/?panel=memory")
        expect(page.locator("#why-not")).to_be_visible()
    page = (at := visit()).page
    at.choose("mood")
    expect(page.get_by_role("tab", name="Labels")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("A text to label")).to_be_visible()


def test_an_unfinished_panel_is_completed_on_return(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.tab("Memory")
    found = at.hold("/v1/units")
    page.locator("#passage").fill(PASSAGE)
    page.get_by_role("button", name="Read the text").click()
    at.until(lambda: found)
    page.locator("#units button").nth(5).click()
    expect(page.locator("#unit-title")).to_have_text("Unit 0.5")
    at.tab("Unrolled")
    at.let_go(found)
    at.tab("Memory")
    expect(page.locator("#units-note")).to_contain_text("No unit indicates a property better")
    expect(page.locator("#unit-title")).to_contain_text("Unit 0.5")
    expect(page.locator("#reading")).to_be_empty()
    for picture in ("#heat", "#coloured"):
        expect(page.locator(picture)).to_have_attribute("aria-busy", "false")
    # a completed panel sends no request again
    asked = at.asked("/v1/memory")
    at.tab("Unrolled")
    at.tab("Memory")
    expect(page.locator("#units button[aria-pressed=true]")).to_contain_text("Unit 0.5")
    assert not asked


def test_a_phrase_is_searched_in_the_text_that_is_shown(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.read(PASSAGE)
    before = page.locator("#lags svg").inner_html()
    other = "we like to eat cake and we like to eat fish \n" * 120
    page.locator("#passage").fill(other)
    page.get_by_label("Units that stand out over the phrase").fill("to eat")
    page.get_by_role("button", name="Find units").click()
    expect(page.locator("#units-note")).to_contain_text("over the phrase")
    expect(page.locator("#coloured .tone")).to_have_count(len(other.split()) + 120)
    assert page.locator("#lags svg").inner_html() != before


def test_the_list_of_units_keeps_focus_and_scroll_position(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.tab("Memory")
    found = at.hold("/v1/units")
    page.locator("#passage").fill(PASSAGE)
    page.get_by_role("button", name="Read the text").click()
    at.until(lambda: found)
    page.locator('#units [data-name="0.20"]').focus()
    at.let_go(found)
    expect(page.locator("#units-note")).to_contain_text("No unit indicates a property better")
    focused = page.locator('#units [data-name="0.20"]').first
    expect(focused).to_be_focused()
    expect(focused).to_be_in_viewport()
    page.get_by_label("Search the units").fill("no such unit")
    expect(page.locator("#units-note")).to_have_text("No unit matches.")


@sizes
def test_a_short_text_can_be_lengthened_until_units_can_be_found(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.read("we like to eat")
    expect(page.locator("#units-note")).to_contain_text("must have 1,000 words; it has 4")
    expect(page.locator("#coloured-scale")).to_have_text("Colours: from red −1.00 to blue +1.00")
    page.get_by_role("button", name="Generate 1,500 words and look again").click()
    expect(page.locator("#units-note")).to_contain_text("No unit indicates a property better")
    assert len(page.locator("#passage").input_value().split()) > 1000
    expect(page.get_by_role("button", name="Generate")).to_be_hidden()


def test_the_picture_of_all_units_follows_the_chosen_unit(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.choose("letters")
    at.read(PASSAGE[:200])
    expect(page.locator("#units-note")).to_contain_text("characters")
    expect(page.locator("#coloured .tone").first).to_have_css("padding-left", "0px")
    page.locator('#units [data-name="0.c3"]').click()
    expect(page.get_by_label("State")).to_have_value("cell")
    expect(page.locator("#unit-title")).to_have_text("Unit 0.c3")
    expect(page.locator("#heat svg")).to_contain_text("cell")
    page.locator('#heat [data-unit="5"]').click()
    expect(page.locator("#unit-title")).to_have_text("Unit 0.c5")
    page.get_by_label("State").select_option("hidden")
    expect(page.locator("#heat svg")).not_to_contain_text("cell")


@sizes
def test_a_forecast_has_a_table_in_which_the_chosen_step_is_marked(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.choose("sales")
    expect(page.locator("#about")).to_have_text(re.compile(r"the mean of the 7 medians, [\d.]+\."))
    rows = page.locator("#values tbody tr")
    expect(rows).to_have_count(7)
    expect(page.locator("#steps-title")).to_have_text("Steps ahead")
    whole = page.locator("#ahead svg circle").count()
    page.get_by_role("button", name="step 3 ahead").click()
    expect(page.locator("#about")).to_contain_text(
        "The explanation is for the median of step 3, 2024-05-02: "
    )
    expect(page.locator("#ahead svg circle")).to_have_count(whole + 1)
    expect(page.locator("#values tr[aria-current=true]")).to_contain_text("2024-05-02")


def test_the_explained_label_stays_while_the_text_changes(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.choose("mood")
    text = page.get_by_label("A text to label")
    text.fill("what a bad day")
    other = page.locator("#labels button[aria-pressed=false]")
    name = other.locator(".name").inner_text()
    other.click()
    expect(page.locator("#answer svg")).to_contain_text(f"why {name}")
    text.press_sequentially(" it is")
    expect(page.locator("#moved .tone")).to_have_count(6)
    expect(page.locator("#labels button[aria-pressed=true]")).to_contain_text(name)


@sizes
def test_curves_are_as_wide_as_their_box(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.tab("Training")
    page.get_by_label("Run").select_option(label="meals")
    curves = page.locator("#curves")
    expect(curves.locator("svg")).to_contain_text("validation")
    wide, room = curves.evaluate("(one) => [one.firstChild.clientWidth, one.clientWidth]")
    assert 0 <= room - wide <= 40 or wide == 960, (wide, room)
