"""Visits of the page with a browser, for its tests, and models for them that train in seconds."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import elman
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.synthetic_meals import Grammar
from elman.text.vocabulary import TextCodec

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = (1280, 800), (390, 844)
SIZES = {"desktop": DESKTOP, "phone": PHONE}
# milliseconds; far more than a loaded machine needs
PATIENCE = 30_000
PASSAGE = "\n".join(Grammar().sentences(200, 7))

# Script of the page that records violations of the content security policy.
WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


# a browser stays open only for one module's tests: its event loop would disturb those of other modules
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@functools.cache
def _trained(folder: Path) -> Path:
    folder.mkdir()
    how: dict[str, Any] = {"threads": 1, "learning_rate": 0.02}
    text = "\n".join(Grammar().sentences(1200, 0)) + "\n"
    elman.LanguageModel(
        cell="gru", hidden_size=24, steps=800, batch_size=16, patience=100, **how
    ).fit(text, output=folder / "meals.safetensors")
    elman.LanguageModel(cell="lstm", level="char", hidden_size=8, steps=20, **how).fit(
        text, output=folder / "letters.safetensors"
    )
    random_model(("b", "a"), 512).save(folder / "slow.safetensors")
    good, bad = ("what a good day", "I love it", "good food"), ("so bad", "I hate it", "a bad day")
    elman.SequenceClassifier(hidden_size=8, steps=60, members=1, **how).fit(
        [*good, *bad] * 8, (["happy"] * 3 + ["sad"] * 3) * 8, output=folder / "mood.safetensors"
    )
    elman.SequenceTagger(hidden_size=8, steps=40, members=1, **how).fit(
        [["I", "like", "tea"], ["you", "hate", "rice"]] * 12,
        [["WHO", "DO", "WHAT"]] * 24,
        output=folder / "tags.safetensors",
    )
    elman.Forecaster(
        horizon=7,
        id_column="shop",
        time_column="day",
        target="sales",
        hidden_size=8,
        steps=30,
        **how,
    ).fit(sales_of(("north", "south")), output=folder / "sales.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models for every panel, trained once in a session, with their journals."""
    return _trained(tmp_path_factory.getbasetemp() / "page")


def sales_of(shops: tuple[str, ...], days: int = 120, **columns: Any) -> dict[str, list[Any]]:
    dates = [datetime.date(2024, 1, 1) + datetime.timedelta(day) for day in range(days)]
    wave = 50 + 10 * np.sin(np.arange(days) * 2 * np.pi / 7)
    noise = np.random.default_rng(0).normal(size=(len(shops), days))
    return {
        "shop": [shop for shop in shops for _ in dates],
        "day": dates * len(shops),
        "sales": [float(value) for row in noise for value in wave + row],
        **{name: values * len(shops) for name, values in columns.items()},
    }


def random_model(words: tuple[str, ...], units: int) -> Model:
    """Return an untrained language model of some words."""
    codec = TextCodec("word", ("<unk>", "\n", *words), "whitespace", "file")
    config = NetworkConfig(
        task="language",
        cell="lstm",
        activation="tanh",
        vocabulary_size=len(codec),
        embedding_size=4,
        hidden_size=units,
        num_layers=1,
    )
    random = np.random.default_rng(0)
    arrays = {
        name: random.standard_normal(shape).astype(np.float32) / 4
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {"note": "<b>random</b>"})


MODELS = ("meals", "letters", "slow", "mood", "tags", "sales")


@pytest.fixture(scope="module")
def url(folder: Path, start: Any) -> Iterator[str]:
    paths = [folder / f"{name}.safetensors" for name in MODELS]
    with start(*paths, runs=folder) as server:
        yield server.url


@dataclass
class Visit:
    """A page, and all errors that occurred in it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    expected: str = ""
    """Pattern of the errors that the test provokes."""

    def listen(self) -> None:
        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.faults.append(f"console: {message.text}")

        def asked(request: Any) -> None:
            if not request.url.startswith((self.url, "data:")):
                self.faults.append(f"request: {request.url}")

        def opened(dialog: Any) -> None:
            self.faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        self.page.on("console", said)
        self.page.on("request", asked)
        self.page.on("dialog", opened)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))

    def check(self) -> None:
        self.faults += self.page.evaluate("window.__violations")
        assert self.page.evaluate("window.__pwned") is None
        wrong = [fault for fault in self.faults if not re.search(self.expected or "$^", fault)]
        assert not wrong, wrong

    def until(self, happened: Callable[[], object]) -> None:
        """Let the page run until a condition of the test is true."""
        for _ in range(PATIENCE // 10):
            if happened():
                return
            self.page.wait_for_timeout(10)
        raise AssertionError("it did not happen")

    def asked(self, path: str) -> list[Any]:
        """Return a list to which every later request of a path is added."""
        requests: list[Any] = []

        def note(request: Any) -> None:
            if request.url.endswith(path):
                requests.append(request)

        self.page.on("request", note)
        return requests

    def hold(self, path: str) -> list[Any]:
        """Hold the first request of a path, and return the list that contains it; later ones pass."""
        held: list[Any] = []
        self.page.route(f"**{path}", lambda one: one.continue_() if held else held.append(one))
        return held

    def let_go(self, held: list[Any]) -> None:
        """Let the held request be answered, and wait until the page has handled the answer."""
        request = held[0].request
        with self.page.expect_event("requestfinished", lambda one: one.url == request.url):
            held[0].continue_()
        self.page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")

    def choose(self, model: str) -> None:
        self.page.get_by_label("Model").select_option(label=model)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def write(self, text: str) -> None:
        """Type a text key by key and wait for its complete picture."""
        self.page.locator("#sentence").fill("")
        self.page.locator("#sentence").press_sequentially(text)
        last = self.page.locator(f'#network .word[data-position="{len(text.split()) - 1}"]')
        expect(last).to_contain_text(text.split()[-1])

    def drawn(self, words: int) -> None:
        expect(self.page.locator("#network .word")).to_have_count(words)

    def predicted(self) -> list[str]:
        return self.page.locator("#keys .name").all_inner_texts()

    def read(self, text: str) -> None:
        self.tab("Memory")
        self.page.locator("#passage").fill(text)
        self.page.get_by_role("button", name="Read the text").click()
        words = self.page.locator("#coloured .tone")
        expect(words.nth(len(text.split()) - 1)).to_be_attached()
        expect(self.page.locator("#heat svg")).to_be_visible()
        expect(self.page.locator("#reading")).to_be_empty()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    """Opens the page in a size and colour scheme, and checks at the end that no error occurred."""
    visits = []

    def visit(size: str = "desktop", *, scheme: str = "light", at: str = url) -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        context.add_init_script(WATCH)
        visit = Visit(context.new_page(), at)
        visit.listen()
        visits.append(visit)
        visit.page.goto(at)
        expect(visit.page.locator("#card")).not_to_be_empty()
        return visit

    expect.set_options(timeout=PATIENCE)
    yield visit
    for one in visits:
        one.check()
        one.page.context.close()


sizes = pytest.mark.parametrize("size", SIZES)
