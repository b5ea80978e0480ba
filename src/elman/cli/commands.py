"""Table of commands, in the order in which ``elman --help`` lists them."""

from __future__ import annotations

from elman.cli.app import app as app
from elman.cli.export import export
from elman.cli.info import bench, demo, info
from elman.cli.predict import evaluate, explain, generate, predict, score
from elman.cli.reproduce import reproduce
from elman.cli.serve import serve
from elman.cli.task_options import TrainCommand
from elman.cli.train import train
from elman.cli.tune import tune
from elman.cli.units import units

for training in (train, tune):
    app.command(training.__name__, cls=TrainCommand)(training)
asking = (predict, generate, evaluate, explain, units, score)
for command in (*asking, serve, export, info, demo, bench, reproduce):
    app.command(command.__name__)(command)
