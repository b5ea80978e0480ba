"""Fixture that runs the command in this process and returns its exit code and output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elman.cli import main


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = left.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run
