r"""The pages of docs/ are run: every ```` ```console ```` block of a page, in order, in one empty folder.

In a block, ``$ `` begins a command, ``> `` goes on with it (a here document, a line after a backslash), and
what follows is what it prints, standard error too. Nothing shown, nothing compared. ``…`` stands for anything
within a line, and alone on a line for any lines. A command must succeed, unless a line that is shown begins
with ``elman: ``, which is how the command says an error.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if FENCE.search(page.read_text("utf-8"))]
# The commands of a page: far above what they take, so that only one that hangs is found.
SECONDS = 300


@dataclass(frozen=True)
class Run:
    """One command of a page and what the page shows of its output."""

    line: int
    command: str
    shown: str


ONE = {"OMP_NUM_THREADS": "1", "ELMAN_THREADS": "1"}


def runs(text: str) -> Iterator[Run]:
    """Yield the commands of a page."""
    for block in FENCE.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        command: list[str] = []
        shown: list[str] = []
        begun = first
        for number, line in enumerate(block[1].splitlines(), first):
            if line.startswith("$ "):
                if command:
                    yield Run(begun, "\n".join(command), "\n".join(shown))
                command, shown, begun = [line[2:]], [], number
            elif not command:
                raise ValueError(f"line {number} of the page stands before a command: {line}")
            elif line.startswith(">") and not shown and line[1:2] in ("", " "):
                command.append(line[2:])
            else:
                shown.append(line)
        if command:
            yield Run(begun, "\n".join(command), "\n".join(shown))


def agrees(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows."""
    pattern = "".join(
        r"(?:[^\n]*\n)*?"
        if line.strip() == "…"
        else re.escape(line.rstrip()).replace("…", r"[^\n]*?") + r"\n"
        for line in shown.strip("\n").splitlines()
    )
    plain = "".join(line.rstrip() + "\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, plain) is not None


def execute(command: str, folder: Path) -> tuple[int, str]:
    """Run a command of a page in a folder; return its exit code and what it printed."""
    python = shlex.quote(sys.executable)
    functions = f'elman() {{ {python} -m elman "$@"; }}\npython() {{ {python} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", f"{functions}{command}\n"],
        cwd=folder,
        # one thread: small networks on a busy machine would mostly wait for each other
        env={**os.environ, "COLUMNS": "110", "TERM": "dumb", "PYTHONUTF8": "1", **ONE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def follow(text: str, folder: Path) -> None:
    """Run the page `text`; raises AssertionError where it does not tell what happens."""
    for run in runs(text):
        code, printed = execute(run.command, folder)
        where = f"line {run.line}: $ {run.command}\n"
        error = any(line.startswith("elman: ") for line in run.shown.splitlines())
        assert code == 0 or error, f"{where}exit code {code}:\n{printed}"
        same = not run.shown.strip() or agrees(run.shown, printed)
        assert same, f"{where}shown:\n{run.shown}\nprinted:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_a_page_tells_what_happens(page: Path, tmp_path: Path) -> None:
    follow(page.read_text("utf-8"), tmp_path)


PAGE = """
A page.

```console
$ python - <<'END'
> for n in range(3):
>     print("line", n)
>
> open("kept.txt", "w").write("4.25 s\\n")
> END
line 0
…
line 2
$ cat kept.txt
… s
```
```console
$ cat kept.txt | tr s m
4.25 m
$ true
```
"""


def test_the_commands_of_a_page() -> None:
    first, second, third, fourth = runs(PAGE)
    assert first.command.splitlines()[1:4] == ["for n in range(3):", '    print("line", n)', ""]
    assert (first.line, first.shown) == (5, "line 0\n…\nline 2")
    assert second == Run(14, "cat kept.txt", "… s")
    assert third == Run(18, "cat kept.txt | tr s m", "4.25 m")
    assert fourth == Run(20, "true", "")
    with pytest.raises(ValueError, match="line 2 of the page"):
        list(runs("```console\nno command\n```\n"))


def test_a_page_is_run(tmp_path: Path) -> None:
    follow(PAGE, tmp_path)
    assert (tmp_path / "kept.txt").read_text() == "4.25 s\n"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("4.25 m", "4.26 m"),
        ("line 2\n$", "line 3\n$"),
        ("$ true", "$ false"),
        ("line 0\n…", "…\nline 1\nline 1"),
    ],
)
def test_what_a_page_tells_wrong_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    assert right in PAGE
    with pytest.raises(AssertionError):
        follow(PAGE.replace(right, wrong), tmp_path)


def test_an_error_that_is_shown_is_meant(tmp_path: Path) -> None:
    page = (
        "```console\n$ elman info none.safetensors\nelman: cannot read none.safetensors: …\n```\n"
    )
    follow(page, tmp_path)
    with pytest.raises(AssertionError, match="exit code 2"):
        follow(page.replace("elman: cannot read none.safetensors: …\n", ""), tmp_path)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a … c", "a b c\n", True),
        ("a … c", "a b\nc", False),
        ("a\n…\nc", "a\nc\n", True),
        ("a\n…\nc", "a\nb\nb\nc\n", True),
        ("a\n…", "a\nb\n", True),
        ("…\nc", "a\nb\nc\n", True),
        ("…\nc", "c\n", True),
        ("…\nc", "ac\n", False),
        ("a\n…\nc", "ab\nc\n", False),
        ("a (b) [c]  ", "a (b) [c]\n\n", True),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
    ],
)
def test_what_agrees(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) is same


def test_every_decision_has_a_number_of_its_own() -> None:
    records = sorted(DOCS.glob("decisions/*.md"))
    assert [int(record.name[:4]) for record in records] == [*range(1, len(records) + 1)]
    for record in records:
        assert record.read_text("utf-8").startswith(f"# {record.name[:4]}: "), record.name
