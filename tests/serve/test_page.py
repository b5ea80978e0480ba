"""The panels of the page, used in a browser with trained models."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import expect

from visits import PASSAGE, Visit, browser, folder, random_model, sizes, url, visit

__all__ = ["browser", "folder", "url", "visit"]


@sizes
def test_a_text_unrolls_as_it_is_typed(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.write("my sister likes to eat")
    assert len(at.predicted()) == 8
    assert page.locator("#network .prediction").count() == 8
    assert page.locator("#network .arc").count() > 0
    # half a word is an unknown word, and does not stop the page
    page.locator("#sentence").press_sequentially(" xylophone", delay=150)
    at.drawn(6)
    measures = "performance.getEntriesByName('key press to bars').map((entry) => entry.duration)"
    if (shots := os.environ.get("ELMAN_SCREENSHOTS")) is not None:
        taken = json.dumps(sorted(page.evaluate(measures)))
        (Path(shots) / f"key-press-to-bars-{size}-ms.json").write_text(taken)


@sizes
def test_a_prediction_is_explained_on_hover_and_appended_on_click(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("we like to eat")
    first, second, *_ = at.predicted()
    assert page.locator("#keys [aria-current=true]").inner_text().startswith(first)
    page.locator("#keys button").nth(1).hover()
    expect(page.locator("#network")).to_contain_text(second)
    expect(page.locator("#keys [aria-current=true]")).to_contain_text(second)
    page.locator("#keys button").nth(1).click()
    expect(page.locator("#sentence")).to_have_value(f"we like to eat {second}")
    at.drawn(5)
    page.locator("#network .prediction").first.click()
    expect(page.locator("#sentence")).not_to_have_value(f"we like to eat {second}")


@sizes
def test_pointing_at_a_word_explains_its_number(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.write("I hate to eat")
    page.locator('#network .word[data-position="1"] .cell').hover()
    said = page.locator("#absence")
    replaced = "When hate is replaced by others likely in its place, the log probability of"
    expect(said).to_contain_text(replaced)
    expect(said).to_contain_text(re.compile(r"(falls|rises) by [\d.e-]+"))


@sizes
def test_the_explanation_is_refined_and_the_method_can_be_chosen(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("I hate to eat")
    expect(page.locator("#legend")).to_contain_text("falls when each input is replaced by others")
    # the first answer is not tested; the refined one is
    expect(page.locator("#because")).to_contain_text("random rankings")
    page.locator("#method").select_option("decomposition")
    expect(page.locator("#legend")).to_contain_text("what each input adds to the logit")
    expect(page.locator("#because")).to_contain_text("sum to the score")
    page.locator('#network .word[data-position="1"] .cell').hover()
    expect(page.locator("#absence")).to_contain_text(
        re.compile("hate (adds|takes) .* the logit of")
    )
    # the page has no command line
    assert "--" not in page.locator("body").inner_text()


@sizes
def test_replacing_a_word_compares_both_continuations(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("I like to eat")
    page.locator('#network .word[data-position="1"] .cell').click()
    box = page.get_by_role("dialog")
    expect(box).to_contain_text("Replace like")
    expect(page.locator("#expected button").first).to_be_visible()
    assert {"hate", "want"} & set(page.locator("#expected .name").all_inner_texts())
    page.get_by_label("Another word").fill("hate")
    page.keyboard.press("Enter")
    future = page.locator("#future")
    expect(future).to_contain_text("If like were hate")
    shown = future.locator(".futures > *").all_inner_texts()
    for column, sentence in ((1, "I like to eat"), (2, "I hate to eat")):
        body = {"model": "meals", "input": sentence, "k": 100}
        answer = httpx.post(f"{at.url}/v1/predict", json=body).json()["predictions"]
        for one in answer[:8]:
            row = shown.index(one["token"])
            share = float(shown[row + column].split()[0])
            # shares above a tenth are shown as whole per cents
            assert abs(share - 100 * one["probability"]) <= 0.5
    page.get_by_role("button", name="Keep the new text").click()
    expect(page.locator("#sentence")).to_have_value("I hate to eat")
    expect(future).to_be_hidden()


@sizes
def test_continue_the_text_writes_word_by_word_and_stops(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("I like")
    page.get_by_label("Temperature").fill("1.2")
    expect(page.locator("#degrees")).to_have_text("1.2")
    page.get_by_role("button", name="Continue the text").click()
    expect(page.get_by_role("button", name="Continue the text")).to_be_visible()
    written = page.locator("#sentence").input_value()
    assert written.startswith("I like to eat")
    # forty words; line ends are not followed by a space
    assert len(re.findall(r"\S+|\n", written)) == 2 + 40

    # a long text is stopped before its end
    at.choose("slow")
    at.write("b a")
    page.route(
        "**/v1/generate",
        lambda route: route.continue_(
            post_data=json.dumps(json.loads(route.request.post_data) | {"n": 4000})
        ),
    )
    page.get_by_role("button", name="Continue the text").click()
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    lengths = page.evaluate(
        """() => new Promise((done) => {
             const lengths = new Set();
             const look = () => {
               lengths.add(document.getElementById("sentence").value.length);
               if (lengths.size > 3) done([...lengths]);
               else requestAnimationFrame(look);
             };
             look();
           })"""
    )
    with page.expect_event("requestfailed", lambda one: one.url.endswith("/v1/generate")):
        page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Continue the text")).to_be_focused()
    stopped = page.locator("#sentence").input_value()
    assert lengths == sorted(lengths)
    assert len(stopped.split()) < 4000
    page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")
    assert page.locator("#sentence").input_value() == stopped
    expect(page.get_by_role("alert")).to_be_empty()


def test_continuing_ends_when_the_person_does_something_else(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    page.emulate_media(reduced_motion="no-preference")
    sentence, stop = page.locator("#sentence"), page.get_by_role("button", name="Stop")
    # more words than pass before the click even on a slow machine
    page.route(
        "**/v1/generate",
        lambda route: route.continue_(
            post_data=json.dumps(json.loads(route.request.post_data) | {"n": 400})
        ),
    )

    def follow() -> None:
        page.get_by_role("button", name="Continue the text").click()
        expect(stop).to_be_visible()
        page.evaluate("window.seen = new Set()")
        page.wait_for_function(
            """() => window.seen.add(document.getElementById("sentence").value).size > 5"""
        )

    def still(pattern: str) -> None:
        expect(stop).to_be_hidden()
        text = sentence.input_value()
        assert re.fullmatch(pattern, text, re.DOTALL), text
        assert len(re.findall(r"\S+|\n", text)) < 400  # the rest is not written
        page.wait_for_timeout(400)  # time for ten words
        assert sentence.input_value() == text

    at.write("I like")
    follow()
    stop.click()
    still("I like.*")
    follow()
    sentence.press_sequentially(" zebra")
    still("I like.* zebra")
    page.get_by_role("button", name="Clear").click()
    at.write("I like")
    follow()
    page.get_by_role("button", name="Clear").click()
    still("")
    at.write("I like")
    follow()
    # find and click in one step: the keys change with every word
    page.wait_for_function(
        """() => {
            const key = document.querySelector("#keys button");
            key?.click();
            return key !== null;
        }"""
    )
    still("I like.*")
    # the end of the text is visible
    hidden = "(box) => box.scrollHeight - box.clientHeight - box.scrollTop"
    sentence.fill("we like to eat cake \n" * 20)
    page.locator("#keys button").first.click()
    assert sentence.evaluate(hidden) <= 1


@sizes
def test_a_slow_click_on_a_prediction_appends_it(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.write("we like to eat")
    second = at.predicted()[1]
    place = page.locator("#network .prediction").nth(1)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    with page.expect_response("**/v1/unroll"):
        page.mouse.down()  # the request is sent at once, and the picture drawn after the release
    page.wait_for_timeout(150)
    page.mouse.up()
    expect(page.locator("#sentence")).to_have_value(f"we like to eat {second}")


def test_a_line_end_is_named_and_appended_as_a_line_end(
    visit: Callable[..., Visit], tmp_path: Path, start: Any
) -> None:
    lines = dataclasses.replace(random_model(("a",), 4).codec, tokens=("<unk>", "<end>", "b", "a"))
    model = random_model(("b", "a"), 4)
    model = dataclasses.replace(model, codec=dataclasses.replace(lines, documents="line"))
    model.save(tmp_path / "lines.safetensors")
    with start(tmp_path / "lines.safetensors") as server:
        page = (at := visit(at=server.url)).page
        at.write("b a")
        expect(page.locator("#network")).to_contain_text("end of line")
        assert "<end>" not in page.content() + page.locator("#network").inner_text()
        page.locator('#network .word[data-position="1"] .cell').click()
        expect(page.locator("#expected button").first).to_be_visible()
        assert "end of line" not in page.locator("#expected").inner_text()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="end of line").first.click()
        expect(page.locator("#sentence")).to_have_value("b a\n")
        page.locator("#keys button", has_text="a").last.click()
        expect(page.locator("#sentence")).to_have_value(re.compile("b a\n[^ ]+"))
        # otherwise the page would request a refined answer after this server has stopped
        page.goto("about:blank")


def test_a_prediction_that_is_mostly_unknown_is_labelled(
    visit: Callable[..., Visit], tmp_path: Path, start: Any
) -> None:
    model = random_model(("a", "b"), 4)
    bias = model.arrays["head.bias"] + np.array(
        [9, 0, 0, 0], np.float32
    )  # <unk> is the first token
    model = dataclasses.replace(model, arrays={**model.arrays, "head.bias": bias})
    model.save(tmp_path / "unsure.safetensors")
    with start(tmp_path / "unsure.safetensors") as server:
        page = (at := visit(at=server.url)).page
        note = page.locator("#mostly")
        expect(note).to_contain_text("% of the probability is on tokens outside the vocabulary")
        at.write("a b")
        expect(note).to_contain_text("% of the probability is on tokens outside the vocabulary")
        page.goto("about:blank")


@sizes
def test_an_unknown_word_is_marked_in_the_picture(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.write("we xyzzy to eat")
    dashed = page.locator("#network .word .void")
    expect(dashed).to_have_count(1)
    expect(page.locator('#network .word[data-position="1"] .void')).to_have_count(1)
    expect(page.locator("#because")).to_contain_text("Not in the vocabulary, read as <unk>: xyzzy.")
    expect(page.locator("#legend")).to_contain_text("Numbers for ")
    # this text wraps, while the picture scrolls
    for part in ("#legend", "#because"):
        assert page.locator(part).evaluate("(one) => one.scrollWidth <= one.clientWidth")
    page.locator("#sentence").fill("we like to eat cake and " * 300)
    expect(page.locator("#network .void + text")).to_have_text(re.compile("… 1,7[89]\\d"))


def test_an_invalid_replacement_leaves_the_dialog_open(visit: Callable[..., Visit]) -> None:
    page = (at := visit("phone")).page
    at.write("my sister likes to eat")
    page.locator('#network .word[data-position="1"] .cell').click()
    box, other = page.get_by_role("dialog"), page.get_by_label("Another word")
    other.fill("brotherr")
    page.keyboard.press("Enter")
    expect(box.get_by_role("alert")).to_contain_text("got brotherr;")
    expect(box.get_by_role("alert")).to_be_in_viewport()
    expect(other).to_have_value("brotherr")
    page.locator("#expected button").first.click()
    expect(page.locator("#future")).to_be_visible()
    expect(box).to_be_hidden()
    at.expected = "Failed to load resource"


@sizes
def test_the_row_of_next_words_never_changes_its_height(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    places = set()
    for text in ("I", "we like to", "my sister likes to eat cake and"):
        at.write(text)
        box = page.locator("#write").bounding_box()
        assert box
        places.add(box["y"])
    assert len(places) == 1
    # keys that move under a resting pointer are not pointed at
    asked = at.asked("/v1/unroll")
    page.locator("#keys button").nth(3).hover()
    at.until(lambda: asked)
    page.locator("#sentence").press_sequentially(" and I")
    expect(page.locator('#network .word[data-position="8"]')).to_be_visible()
    page.wait_for_timeout(200)
    assert all("target" not in one.post_data_json for one in asked[1:])


@sizes
def test_memory_colours_the_text_by_a_unit_and_finds_units(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.read(PASSAGE)
    rows = page.locator("#units button:visible")
    assert rows.count() >= 24
    page.get_by_label("Search the units").fill("unit 0.7")
    expect(rows).to_have_count(1)
    rows.click()
    expect(page.locator("#unit-title")).to_contain_text("Unit 0.7")
    # most of the 1,400 words have a value that is clearly not zero
    expect(page.locator("#coloured .tone:not([class=tone])").nth(700)).to_be_attached()
    expect(page.locator("#lags svg")).to_be_visible()
    measured = httpx.post(f"{at.url}/v1/memory", json={"model": "meals", "input": PASSAGE}).json()
    expect(page.locator("#horizon")).to_have_text(measured["verdict"])
    page.get_by_label("Search the units").fill("")
    page.get_by_label("Units that stand out over the phrase").fill("to eat")
    page.get_by_role("button", name="Find units").click()
    expect(page.locator("#units-note")).to_contain_text("over the phrase")
    assert page.locator("#places li").count() > 0
    asked = at.asked("/v1/units/like")
    page.locator("#passage").fill("")
    page.get_by_role("button", name="Find units").click()
    expect(page.locator("#reading")).to_have_text("There is no text yet.")
    assert not asked


@sizes
def test_a_forecast_shows_its_explanation(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    asked = at.asked("/v1/explain")
    at.choose("sales")
    at.tab("Series")
    expect(page.locator("#answer svg")).to_be_visible()
    assert len(asked) == 1
    whole = page.locator("#answer svg").inner_html()
    page.get_by_label("step 3 ahead").click()
    expect(page.get_by_label("step 3 ahead")).to_have_attribute("aria-pressed", "true")
    assert page.locator("#answer svg").inner_html() != whole
    page.get_by_role("combobox", name="Series").select_option(label="south")
    expect(page.locator("#answer svg")).to_contain_text("south")
    expect(page.locator("#answer svg")).to_contain_text("Lag 1 is")


@sizes
def test_the_words_of_a_labelled_text_are_coloured_by_contribution(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.choose("mood")
    at.tab("Labels")
    page.get_by_label("A text to label").press_sequentially("what a bad day")
    expect(page.locator("#moved")).to_have_text(re.compile(r"what\s+a\s+bad\s+day"))
    expect(page.locator("#labels button")).to_have_count(2)
    expect(page.locator("#answer svg")).to_contain_text("bad")
    other = page.locator("#labels button[aria-pressed=false]")
    name = other.locator(".name").inner_text()
    other.click()
    expect(page.locator("#labels button[aria-pressed=true]")).to_contain_text(name)
    expect(page.locator("#answer svg")).to_contain_text(f"why {name}")
    at.choose("tags")
    page.get_by_label("Words to label").fill("I hate tea")
    expect(page.locator("#labels button")).to_have_count(3)
    page.locator("#labels button").nth(1).click()
    expect(page.locator("#labels button").nth(1)).to_have_attribute("aria-pressed", "true")


@sizes
def test_a_panel_says_why_it_cannot_show_a_model(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    at.tab("Series")
    expect(page.locator("#why-not")).to_have_text(
        re.compile("This panel is for forecasts and labels; meals reads text")
    )
    at.choose("mood")
    expect(page.locator("#why-not")).to_be_hidden()
    for name in ("Unrolled", "Memory"):
        at.tab(name)
        expect(page.locator("#why-not")).to_contain_text("language model")
    at.choose("letters")
    expect(page.locator("#card")).to_contain_text("characters")
    at.tab("Unrolled")
    page.locator("#sentence").press_sequentially("I like")
    at.drawn(6)
    page.locator("#keys button").first.click()
    at.drawn(7)
    # only the first character of the input replaces the old one, even if it needs two UTF-16 units
    page.locator('#network .word[data-position="0"] .cell').click()
    page.get_by_label("Another word").fill("\U0001f600!")
    with page.expect_request("**/v1/replace") as asked:
        page.keyboard.press("Enter")
    sent: Any = asked.value.post_data_json
    assert sent["token"] == "\U0001f600"
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("got \U0001f600;")
    at.expected = "Failed to load resource"  # the character is not in the vocabulary


@sizes
def test_a_run_shows_its_curves_and_generated_texts(
    visit: Callable[..., Visit], size: str, folder: Path
) -> None:
    page = (at := visit(size)).page
    at.tab("Training")
    page.get_by_label("Run").select_option(label="meals")
    expect(page.locator("#progress")).to_contain_text("ended: its budget is used up")
    expect(page.locator("#curves svg")).to_contain_text("validation")
    samples = page.locator("#samples li")
    expect(samples.first).to_contain_text("step")
    assert samples.count() == len(re.findall('"sample"', (folder / "meals.run.jsonl").read_text()))
    page.get_by_label("Run").select_option(label="sales")
    expect(page.locator("#progress")).to_contain_text("forecast")
    expect(samples).to_have_count(0)


def test_a_run_in_progress_is_updated(visit: Callable[..., Visit], folder: Path) -> None:
    page = (at := visit()).page
    live = folder / "live.run.jsonl"
    event = {"event": "steps", "loss": 2.0, "seconds_left": 5.0, "share_done": 0.1}
    try:
        lines: list[dict[str, Any]] = [{"event": "start", "task": "language"}, event | {"step": 10}]
        live.write_text("".join(json.dumps(line) + "\n" for line in lines))
        at.tab("Training")
        expect(page.locator("#run option", has_text="live")).to_have_count(1)
        page.get_by_label("Run").select_option(label="live")
        expect(page.locator("#progress")).to_contain_text("step 10 ")
        with live.open("a") as file:
            file.write(json.dumps(event | {"step": 20}) + "\n")
        expect(page.locator("#progress")).to_contain_text("step 20 ")
        # evaluations come after the last steps; the curve of the second network continues after the first
        evaluated = {"event": "evaluation", "step": 30, "held_out_loss": 1.5}
        with live.open("a") as file:
            file.write(json.dumps(evaluated) + "\n")
        expect(page.locator("#progress")).to_contain_text("step 30 · loss 2.000 · validation 1.500")
        with live.open("a") as file:
            for line in ({"event": "stage", "next": "measured"}, event | {"step": 7}):
                file.write(json.dumps(line) + "\n")
        expect(page.locator("#progress")).to_contain_text("step 37 · loss 2.000 · 10 %")
        expect(page.locator("#curves")).to_contain_text("on the training set")
        with live.open("a") as file:
            file.write(json.dumps({"event": "end", "stopped": "early"}) + "\n")
        expect(page.locator("#progress")).to_contain_text("ended early")
        # a new run in the same file is shown; once the file is deleted, another run is shown
        lines[1] |= {"step": 5}
        live.write_text("".join(json.dumps(line) + "\n" for line in lines))
        expect(page.locator("#progress")).to_contain_text("step 5 ")
    finally:
        live.unlink()
    expect(page.locator("#run option", has_text="live")).to_have_count(0)
    expect(page.locator("#progress")).to_contain_text("ended: its budget is used up")
    expect(page.get_by_role("alert")).to_be_empty()
