"""Serve a small model over HTTP on this machine, and ask it for the next word.

python examples/server.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import elman

ADDRESS = "http://127.0.0.1:8765"


def post(path: str, body: dict[str, object]) -> dict[str, object]:
    """Return the JSON that the server answers to `body`."""
    request = urllib.request.Request(
        ADDRESS + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        reply: dict[str, object] = json.load(answer)
    return reply


def wait_until_ready() -> None:
    """Wait until the server answers."""
    for _ in range(100):
        try:
            urllib.request.urlopen(ADDRESS + "/healthz", timeout=1).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no server answers at {ADDRESS}")


def main() -> None:
    model = elman.LanguageModel(level="word", documents="line", hidden_size=32, steps=200)
    model.fit("I like to eat pizza\nI like to eat burgers\nI like to drink tea\n" * 50)
    model.save("meals.safetensors")
    command = [sys.executable, "-m", "elman", "serve", "meals.safetensors", "--port", "8765"]
    server = subprocess.Popen(command)
    try:
        wait_until_ready()
        print(post("/v1/predict", {"model": "meals", "input": "I like to eat"}))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
