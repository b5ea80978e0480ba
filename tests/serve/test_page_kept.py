"""The page keeps what a person typed, and never shows an outdated answer as current."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

import elman
from visits import Visit, browser, folder, sizes, url, visit

__all__ = ["browser", "folder", "url", "visit"]

LINE = "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_388650490641396"


@pytest.fixture(scope="module")
def log_model(folder: Path) -> Path:
    path = folder / "log.safetensors"
    elman.LanguageModel(
        level="word", split="log", documents="line", hidden_size=8, steps=4, threads=1
    ).fit(f"{LINE}\n" * 30, output=path)
    return path


def test_a_word_among_masked_numbers_is_replaced_at_its_position(
    visit: Callable[..., Visit], start: Any, log_model: Path
) -> None:
    with start(log_model) as server:
        page = visit(at=server.url).page
        page.locator("#sentence").fill(LINE)
        place = LINE.split().index("for")
        word = page.locator(f'#network .word[data-position="{place}"]')
        expect(word).to_contain_text("for")
        word.locator(".cell").click()
        page.get_by_label("Another word").fill("block")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Keep the new text").click()
        expect(page.locator("#sentence")).to_have_value(LINE.replace(" for ", " block "))
        # the server stops only after the page has all its answers
        expect(word).to_contain_text("block")
        expect(page.locator("#because")).to_contain_text("own test", ignore_case=True)


@sizes
def test_every_change_can_be_undone(visit: Callable[..., Visit], size: str) -> None:
    page = (at := visit(size)).page
    box, back = page.locator("#sentence"), page.get_by_role("button", name="Undo")
    at.write("we like to eat")
    page.locator("#keys button").first.click()
    expect(box).not_to_have_value("we like to eat")
    box.press("Control+z")
    expect(box).to_have_value("we like to eat")
    at.drawn(4)
    page.get_by_role("button", name="Clear").click()
    expect(box).to_have_value("")
    back.click()
    expect(box).to_have_value("we like to eat")
    at.drawn(4)
    box.press("Control+Shift+z")
    expect(box).to_have_value("")
    box.press("Control+z")
    # a generated text is one undo step
    page.get_by_role("button", name="Continue the text").click()
    expect(box).not_to_have_value("we like to eat")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    box.press("Control+z")
    expect(box).to_have_value("we like to eat")


@sizes
def test_reload_back_and_the_address_restore_what_is_shown(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("we like")
    at.choose("letters")
    at.tab("Memory")
    page.wait_for_timeout(400)  # the address follows the text after a moment
    page.reload()
    expect(page.get_by_role("tab", name="Memory")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#model option:checked")).to_have_text("letters")
    expect(page.locator("#sentence")).to_have_value("we like")
    page.go_back()
    expect(page.get_by_role("tab", name="Unrolled")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.locator("#model option:checked")).to_have_text("meals")
    at.drawn(2)
    # a text that is too long for the address is kept in session storage
    text = "we like to eat " * 400
    page.locator("#sentence").fill(text)
    page.wait_for_timeout(400)
    assert "kept=" in page.url
    assert len(page.url) < 500
    page.reload()
    expect(page.locator("#sentence")).to_have_value(text)


@sizes
def test_a_text_that_is_too_long_is_an_error_and_is_not_cut(
    visit: Callable[..., Visit], size: str
) -> None:
    page = (at := visit(size)).page
    at.write("we like")
    long = "we like to eat " * 1000
    page.locator("#sentence").fill(long)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The text has 15,000 characters; this panel reads at most 10,000")
    expect(page.locator("#sentence")).to_have_value(long)
    expect(page.locator("#network")).to_have_class(re.compile("stale"))
    page.locator("#sentence").fill("we like to eat")
    at.drawn(4)
    expect(alert).to_be_empty()
    expect(page.locator("#network")).not_to_have_class(re.compile("stale"))


def test_the_first_touch_points_and_the_second_appends(visit: Callable[..., Visit]) -> None:
    page = (at := visit("phone")).page
    at.write("we like to eat")
    touch = """(element) => element.dispatchEvent(
        new PointerEvent("click", {bubbles: true, pointerType: "touch"}))"""
    key = page.locator("#keys button").nth(1)
    word = key.locator(".name").inner_text()
    key.evaluate(touch)
    expect(page.locator("#keys [aria-current=true]")).to_contain_text(word)
    expect(page.locator("#sentence")).to_have_value("we like to eat")
    page.locator("#keys button").nth(1).evaluate(touch)
    expect(page.locator("#sentence")).to_have_value(f"we like to eat {word}")
    at.drawn(5)
    cell = page.locator('#network .word[data-position="1"] .cell')
    cell.evaluate(touch)
    expect(page.locator("#absence")).to_contain_text("like")
    expect(page.locator("#replace")).to_be_hidden()
    cell.evaluate(touch)
    expect(page.locator("#replace")).to_be_visible()


def test_a_request_is_repeated_while_the_server_is_busy(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    refused: list[Route] = []

    def refuse(route: Route) -> None:
        if len(refused) == 2:
            route.continue_()
            return
        refused.append(route)
        route.fulfill(status=429, headers={"retry-after": "0.1"}, json={"error": {}})

    page.route("**/v1/unroll", refuse)
    at.write("we like")
    at.drawn(2)
    expect(page.get_by_role("alert")).to_be_empty()
    assert len(refused) == 2
    at.expected = "Failed to load resource"


def test_an_outdated_picture_is_dimmed(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.write("we like")
    expect(page.locator("#network")).to_have_attribute("aria-busy", "false")
    held = at.hold("/v1/unroll")
    page.locator("#sentence").press_sequentially(" to")
    at.until(lambda: held)
    expect(page.locator("#network")).to_have_attribute("aria-busy", "true")
    at.let_go(held)
    at.drawn(3)
    expect(page.locator("#network")).to_have_attribute("aria-busy", "false")


def test_choosing_another_run_clears_the_curves_at_once(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.tab("Training")
    page.get_by_label("Run").select_option(label="meals")
    expect(page.locator("#curves svg")).to_be_visible()
    held = at.hold("/v1/runs/sales?*")
    page.get_by_label("Run").select_option(label="sales")
    expect(page.locator("#curves svg")).to_have_count(0)
    expect(page.locator("#progress")).to_have_text("reading …")
    at.until(lambda: held)
    held[0].continue_()
    expect(page.locator("#progress")).to_contain_text("forecast")


def test_the_end_of_a_watched_run_is_not_an_error(visit: Callable[..., Visit]) -> None:
    page = (at := visit()).page
    at.tab("Training")
    page.get_by_label("Run").select_option(label="meals")
    expect(page.locator("#progress")).to_contain_text("ended: its budget is used up")
    page.route("**/v1/runs**", lambda route: route.abort())
    expect(page.locator("#progress")).to_contain_text(
        "the training and the server of this page have ended"
    )
    expect(page.get_by_role("alert")).to_be_empty()
    at.expected = "Failed to load resource"
