"""Two processes under torchrun train the same network as one process, up to rounding, and resume exactly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from elman import load
from elman.training.distributed import Group

pytestmark = pytest.mark.slow

TRAIN = [
    "--level", "char", "--cell", "gru", "--steps", "20", "--hidden-size", "12", "--num-layers", "1",
    "--dropout", "0", "--batch-size", "6", "--sequence-length", "16", "--evaluations", "2",
    "--checkpoint-every", "0.01s", "--device", "cpu",
]  # fmt: skip
# Gradients are summed in another order over 20 steps of Adam, whose first steps divide by small moments.
TOLERANCE = 2e-3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(processes: int, text: Path, output: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--nproc-per-node", str(processes)]
        start += ["--master-port", str(free_port()), "-m"]
    return [*start, "elman", "train", str(text), "-o", str(output), "--json", *TRAIN, *more]


def launch(
    processes: int, text: Path, output: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(processes, text, output, *more), capture_output=True, text=True, check=False
    )


def test_two_processes_train_the_same_network_as_one(manual_file: Path, tmp_path: Path) -> None:
    outputs = {}
    for processes in (1, 2):
        output = tmp_path / f"{processes}.safetensors"
        done = launch(processes, manual_file, output)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["stopped"] == "budget"
        outputs[processes] = load(output).model
    for name, array in outputs[1].arrays.items():
        np.testing.assert_allclose(outputs[2].arrays[name], array, atol=TOLERANCE, err_msg=name)
    assert outputs[2].card["identity"]["processes"] == 2


def test_two_processes_resume_exactly(manual_file: Path, tmp_path: Path) -> None:
    # The dropout of each process must resume too.
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    more = ("--dropout", "0.3", "--steps", "200")
    assert launch(2, manual_file, whole, *more).returncode == 0
    checkpoint = tmp_path / "part.checkpoint" / "state.safetensors"
    process = subprocess.Popen(
        command(2, manual_file, part, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    # Kill torchrun first, so that it does not restart the workers.
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    done = launch(2, manual_file, part, *more, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stderr
    one, other = load(whole).model.arrays, load(part).model.arrays
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_no_thread_outlives_the_group(tmp_path: Path) -> None:
    # A thread of gloo that still runs when the interpreter ends aborts the process.
    script = tmp_path / "leave.py"
    script.write_text(
        "import os, torch\n"
        "from elman.training.distributed import join\n"
        "from elman.training.optimizer import AdamW\n"
        "group = join(torch.device('cpu'))\n"
        "weight = torch.nn.Parameter(torch.ones(2))\n"
        "weight.grad = torch.ones(2)\n"
        "group.all_reduce([weight.grad], [])\n"
        "AdamW([weight]).step()\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "group.leave()\n"
        "names = [open(f'/proc/self/task/{t}/comm').read() for t in os.listdir('/proc/self/task')]\n"
        "assert len(names) < before\n"
        "assert not any('gloo' in name for name in names), names\n",
        encoding="utf-8",
    )
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*start, "--master-port", str(free_port()), str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("rank", "expected"), [(0, [0, 1]), (1, [2, 3, 4])])
def test_each_process_keeps_its_own_lanes(rank: int, expected: list[int]) -> None:
    lanes = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    group = Group(rank, 2)
    assert group.columns(lanes).ravel().tolist() == expected


def test_a_group_of_one_exchanges_nothing() -> None:
    group = Group()
    tensor = torch.ones(3)
    assert group.leads
    assert group.all_reduce([tensor], [1.5]) == [1.5]
    assert group.broadcast([2.0]) == [2.0]
    assert group.all_gather(tensor)[0] is tensor
    assert tensor.tolist() == [1.0, 1.0, 1.0]
