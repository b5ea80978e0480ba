"""Table of commands, in the order in which ``elman --help`` lists them."""

from __future__ import annotations

from elman.cli.app import app as app
from elman.cli.info import bench, demo, info
from elman.cli.predict import evaluate, explain, generate, predict, score
from elman.cli.serve import serve
from elman.cli.task_options import TrainCommand
from elman.cli.train import train
from elman.cli.units import units

app.command("train", cls=TrainCommand)(train)
app.command("predict")(predict)
app.command("generate")(generate)
app.command("evaluate")(evaluate)
app.command("explain")(explain)
app.command("units")(units)
app.command("score")(score)
app.command("serve")(serve)
app.command("info")(info)
app.command("demo")(demo)
app.command("bench")(bench)
