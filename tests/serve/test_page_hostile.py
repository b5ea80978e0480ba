"""Hostile words, labels, ids, columns and file names: the page shows them as text and executes none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import elman
from elman.text.words import MAX_WORD_CHARACTERS
from visits import Visit, browser, folder, random_model, sales_of, url, visit

__all__ = ["browser", "folder", "url", "visit"]

PAYLOADS = [
    "<script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    "<svg onload=window.__pwned=1>",
    "<svg><script>window.__pwned=1</script></svg>",
    "</title><script>window.__pwned=1</script>",
    "</text></svg><script>window.__pwned=1</script>",
    "]]><script>window.__pwned=1</script>",
    "--><script>window.__pwned=1</script>",
    "&lt;script&gt;window.__pwned=1&lt;/script&gt;",
    "&#60;script&#62;window.__pwned=1",
    '"onmouseover="window.__pwned=1"',
    "' onfocus='window.__pwned=1' tabindex='0",
    '" style="position:fixed;inset:0" x="',
    "javascript:window.__pwned=1",
    "<a href=javascript:window.__pwned=1>x</a>",
    "<iframe srcdoc='<script>top.__pwned=1</script>'>",
    "<object data=javascript:window.__pwned=1>",
    "<foreignObject><body onload=window.__pwned=1>",
    "<animate onbegin=window.__pwned=1 attributeName=x>",
    "<use href=data:image/svg+xml,<svg/onload=window.__pwned=1>>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "${window.__pwned=1}",
    "{{constructor.constructor('window.__pwned=1')()}}",
    "__proto__",
    "constructor",
    "toString",
    "\u202eevil\u202c",
    "\u2066\u2067isolated",
    "\u200f\u061cmarks",
    "\x1b[2J",
    "\x00nul",
    "\x07\x08\x7f",
    "\ufeff\ufffe",
    "Z\u0351\u036b\u0343\u036a" * 40,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "w" * 10_000,
    "<b>" * 3_000,
    "\u0645\u0631\u062d\u0628\u0627",
    "\u2028\u2029",
    "%3Cscript%3E",
    "\\u003cscript\\u003e",
]
HOSTILE = [*PAYLOADS, *(f"{payload}{n}" for n in range(2) for payload in PAYLOADS[:36])]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models whose words, labels, ids and columns are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "<img src=x onerror=window·__pwned=1>\u202e"
    words = [
        word for word in HOSTILE if len(word) <= MAX_WORD_CHARACTERS and word.split() == [word]
    ]
    random_model(tuple(dict.fromkeys(["a", *words])), 4).save(folder / f"{name}.safetensors")
    how: dict[str, Any] = {"threads": 1, "hidden_size": 4, "steps": 2}
    labels = [*dict.fromkeys(HOSTILE)]
    elman.SequenceClassifier(members=1, held_out=0.3, **how).fit(
        [f"a {word[:50]}" for word in labels] * 4, labels * 4, output=folder / "labels.safetensors"
    )
    ids = tuple(dict.fromkeys(word for word in HOSTILE if word.strip()))
    column = "<img src=x onerror=window.__pwned=1>\u202e"
    elman.Forecaster(
        horizon=2, id_column="shop", time_column="day", target="sales", past=column, **how
    ).fit(
        sales_of(ids, 40, **{column: [float(n % 5) for n in range(40)]}),
        output=folder / "ids.safetensors",
    )
    journal = [
        {"event": "start", "task": HOSTILE[1], "network": {"cell": HOSTILE[2]}},
        *(
            {"event": "evaluation", "step": n, "held_out_loss": 1.0, "sample": word}
            for n, word in enumerate(HOSTILE)
        ),
        {"event": "warning", "text": HOSTILE[0]},
        {"event": "end", "stopped": HOSTILE[3]},
    ]
    (folder / f"{name}.run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in journal))
    return folder


def test_hostile_words_labels_ids_and_columns_are_shown_as_text(
    visit: Callable[..., Visit], hostile: Path, start: Any
) -> None:
    assert len(HOSTILE) > 100
    with start(*sorted(hostile.glob("*.safetensors")), runs=hostile) as server:
        page = (at := visit(at=server.url)).page
        names = page.locator("#model option").all_inner_texts()
        language = next(name for name in names if "onerror" in name)
        assert "\u202e" not in "".join(names)
        at.choose(language)
        at.tab("Unrolled")
        # in pieces of a length that the panel accepts
        words = [word for word in HOSTILE if len(word) < 500 and not set(word) & set(" \n\x00")]
        for first in range(0, len(words), 25):
            page.locator("#sentence").fill(" ".join(words[first : first + 25]))
            expect(page.locator("#network .word").first).to_be_visible()
            page.locator("#keys button").first.hover()
            page.locator("#network .word .cell").last.hover()
            expect(page.locator("#absence")).to_contain_text("is replaced by")
        page.locator("#network .word .cell").last.click()
        expect(page.locator("#expected button").first).to_be_visible()
        page.locator("#expected button").first.click()
        expect(page.locator("#future")).to_be_visible()
        page.get_by_role("button", name="Keep the new text").click()
        page.get_by_role("button", name="Continue the text").click()
        expect(page.get_by_role("button", name="Continue the text")).to_be_visible()
        at.read(" ".join(words))
        at.choose("labels")
        at.tab("Labels")
        for word in words[::9]:
            page.locator("#example").fill("")
            expect(page.locator("#labels button")).to_have_count(0)
            page.locator("#example").fill(f"a {word}")
            expect(page.locator("#labels button")).to_have_count(12)
        page.locator("#labels button").nth(3).click()
        expect(page.locator("#labels button").nth(3)).to_have_attribute("aria-pressed", "true")
        at.choose("ids")
        ids = page.locator("#which option").all_inner_texts()
        assert len(ids) == len({word for word in HOSTILE if word.strip()})
        for place in range(0, len(ids), 25):
            page.locator("#which").select_option(index=place)
            expect(page.locator("#answer svg")).to_be_visible()
        at.tab("Training")
        expect(page.locator("#samples li").first).to_be_visible()
        expect(page.locator("#progress")).to_contain_text("ended")
        # no text became an element or an active attribute
        assert (
            page.evaluate(
                """() => [...document.querySelectorAll("*")].filter((element) =>
                 ["script", "iframe", "object", "base", "meta", "link", "foreignObject", "img", "style"]
                   .includes(element.localName) && element.closest("body")
                 || [...element.attributes].some(({ name }) => /^on|^href$|^src$/.test(name))
               ).map((element) => element.outerHTML.slice(0, 100))
               .filter((html) => !/^<(link|script)[^>]*\\/page\\/|rel="icon"|class="skip"/.test(html))"""
            )
            == []
        )
        width = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(width) <= 0
