"""The page of the server as one HTML file, with a model and the runtime that answers for it inside."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path

from elman.draw.style import STYLE
from elman.export.html_model import described_model
from elman.files.atomic import atomic_write
from elman.files.model import Model

# Nothing may be loaded from anywhere; the runtime runs in workers, whose script is in the file.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data:"
)
_FOLDERS = (("elman.serve", "page"), ("elman.export", "page"), ("elman.export", "runtime"))
"""Folders of packages that hold scripts: the server's page, words and pictures for it, and the runtime."""
_HIDDEN = (
    ".model, .skip, [role=tab].not, #more, #like, label:has(#phrase), h2:has(+ #horizon), #horizon"
    " { display: none } header h1 { flex: 1 0 auto }"
)
"""Style of what only a server can offer: other models, panels that the model does not have, and measures.

Without the choice of models, the title must not shrink on a narrow screen."""
_IMPORT = re.compile(
    r'^import (?:\* as )?([^;]+?) from "\.{1,2}/(?:runtime/)?([\w.]+)";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const|let) (\w+))", re.MULTILINE)


def html_page(model: Model, name: str = "model") -> str:
    """Return one HTML file that shows a model without a server or network.

    Args:
        model: A trained model, as `elman.Model.load` returns it.
        name: The name of the model on the page.

    Raises:
        InputError: The page cannot run such a model.
    """
    folder = files("elman.serve") / "page"
    described = json.dumps(described_model(model, name), allow_nan=False).replace("<", "\\u003c")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<style>{STYLE}\n{(folder / 'page.css').read_text('utf-8')}\n{_HIDDEN}</style>"
    )
    # `fetch` of the page's scripts is the runtime's, so that the page is the same with a server and without.
    main = bundle("local.js", "main.js")
    body = (
        f'<script type="application/json" id="exported-model">{described}</script>\n'
        f'<script type="text/plain" id="exported-runtime">{runtime()}</script>\n'
        f'<script type="module">{main}</script>\n</body>'
    )
    text = (folder / "index.html").read_text("utf-8")
    text = re.sub(r'<link rel="stylesheet".*\n|<script type="module".*\n', "", text)
    return text.replace("</head>", f"{head}\n</head>").replace("</body>", body)


def runtime() -> str:
    """Return the script of the worker that answers the page's requests."""
    return bundle("worker.js")


def bundle(*mains: str) -> str:
    """Return modules of the page and the runtime as one script: browsers load no module from a disk.

    Args:
        mains: The modules to run, in order, each after those that it imports.
    """
    scripts = {
        path.name: path.read_text("utf-8")
        for package, folder in _FOLDERS
        for path in (files(package) / folder).iterdir()
        if path.name.endswith(".js")
    }
    placed: dict[str, str] = {}

    def place(name: str) -> None:
        if name in placed:
            return
        text = scripts[name]
        for _, imported in _IMPORT.findall(text):
            place(imported)
        exported = [export for _, export in _EXPORT.findall(text)]
        text = _IMPORT.sub(r'const \1 = modules["\2"];\n', text)
        text = _EXPORT.sub(r"\1", text)
        names = ", ".join(exported)
        placed[name] = f'modules["{name}"] = (() => {{\n{text}return {{ {names} }};\n}})();\n'
        if name == "local.js":
            placed[name] += 'const { fetch } = modules["local.js"];\n'

    for main in mains:
        place(main)
    return '"use strict";\nconst modules = {};\n' + "".join(placed.values())


def write_html(model: Model, path: str | os.PathLike[str]) -> list[Path]:
    """Write a model as one HTML file that needs no server and no network.

    Args:
        model: A trained model, as `elman.Model.load` returns it.
        path: The file to write; its name without the suffix is the model's name on the page.

    Returns:
        The file, as the only item of a list.

    Raises:
        InputError: The page cannot run such a model.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    atomic_write(path, html_page(model, path.stem).encode())
    return [path]
