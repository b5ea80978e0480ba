"""Servers that tests start in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# starting and stopping a server takes far less
SECONDS = 60


class Server:
    """A server that runs in its own process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.host, self.port = "127.0.0.1", int(url.rpartition(":")[2])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


CODE = """
import sys
from pathlib import PosixPath
import elman
from elman.serve import server
from elman.serve.settings import Settings
models = {path.rpartition("/")[2].partition(".")[0]: elman.load(path) for path in sys.argv[2:]}
server.serve(models, Settings(port=0, **eval(sys.argv[1])), lambda s: print(server.page_url(s), flush=True))
"""


@contextlib.contextmanager
def started(*paths: Path, **settings: Any) -> Iterator[Server]:
    """Start a server of model files, and stop it at the end."""
    arguments = [sys.executable, "-c", CODE, repr(settings), *map(str, paths)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ELMAN_THREADS": "1"}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, process.stderr.read()
            yield Server(process, found[0])
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        finally:
            process.kill()
