"""The checkpoint file of an unfinished run, and the checks of `--resume`.

A run continues only its own checkpoint and never replaces the model of another run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from elman.errors import ModelFileError, OptionError, OutputError, printable
from elman.files import container
from elman.files.model import Model, folder_of
from elman.training.checkpoint import Progress, Snapshot
from elman.training.distributed import Group
from elman.training.journal import JsonObject

KIND = "checkpoint"
# A parameter has five arrays: itself, two moments, its best and its mean; an option allows 32 layers.
LIMITS = container.Limits(
    header_bytes=1 << 22, tensors=8192, payload_bytes=1 << 36, json_marks=100_000
)


def check_same_run(run: str, kept: JsonObject, own: JsonObject, folder: Path) -> None:
    """Raise ModelFileError unless a resumed `run` has the settings and data of the interrupted one.

    Args:
        run: The word for it, "run" or "tuning".
        kept: Settings and data of the interrupted run by name.
        own: Those of the resumed one.
        folder: The folder that keeps the interrupted run.
    """
    for name in {**own, **kept}:
        if kept.get(name) != own.get(name):
            # Digests of texts tell a person nothing, so those values are left out of the message.
            got, expected = (
                "nothing" if settings.get(name) is None else settings[name]
                for settings in (own, kept)
            )
            raise ModelFileError(
                f"--resume with another {name} than the interrupted {run}",
                got=None if "text" in name else got,
                expected="the same" if "text" in name else printable(expected),
                remedy=f"or remove {folder}",
            )


class Store:
    """The folder beside the model that keeps the checkpoint of an unfinished run.

    `save` and `clear` do nothing without an output, and in processes that do not lead.
    """

    def __init__(self, output: Path | None, identity: JsonObject, group: Group) -> None:
        """Keep the run that trains the model `output`.

        Args:
            output: The model's file; None keeps nothing.
            identity: Settings and data by name; a run with another identity cannot resume this one.
            group: The processes of the run.
        """
        self.output, self.identity, self.group = output, identity, group
        self.failed = False
        """Whether the last attempt to save failed."""
        self.file = None if output is None else folder_of(output) / "state.safetensors"

    def is_unfinished(self) -> bool:
        """Return whether there is a checkpoint to resume, the same answer in every process."""
        exists = self.file is not None and self.file.exists()
        # Without a shared folder, some processes would begin anew and others resume.
        (count,) = self.group.all_reduce([], [float(exists)])
        if count not in (0.0, float(self.group.world_size)):
            raise OutputError(
                "every process needs the checkpoint",
                got=f"it in {count:.0f} of {self.group.world_size}",
                remedy="give all of them one shared folder",
            )
        return bool(count)

    def finished_model(self) -> Model:
        """Return the model that this very run ended in; raises OptionError, OutputError."""
        output, complete = self.output, False
        if self.group.leads and output is not None and output.exists():
            # Only the lead reads the model; the others get its verdict below.
            card = Model.load(output).card
            complete = card.get("training", {}).get("stopped") in ("budget", "early")
            if complete and card.get("identity") != self.identity:
                raise OutputError(
                    f"there is nothing to resume, and {output} is the model of another run",
                    remedy="train without --resume to replace it, or choose another -o",
                )
        complete = bool(self.group.broadcast([float(complete)])[0])
        if not complete or output is None:
            raise OptionError(
                "resume",
                got="no checkpoint" + (f" beside {output}" if output else ", for no output"),
                expected="that of an interrupted run",
                remedy="train without it, from the beginning",
            )
        return Model.load(output)

    def save(self, snapshot: Snapshot) -> None:
        """Write `snapshot` atomically.

        Raises OutputError, and then the checkpoint of before is still there.
        """
        if self.file is None or not self.group.leads:
            return
        try:
            self.file.parent.mkdir(exist_ok=True)
        except OSError as error:
            what = f"cannot make the folder {self.file.parent}"
            raise OutputError(what, got=error.strerror, remedy="choose another -o") from error
        metadata = {"kind": KIND, "identity": self.identity, "numbers": snapshot.numbers}
        container.write(self.file, snapshot.arrays, metadata, limits=LIMITS)

    def save_or_warn(self, snapshot: Snapshot, warn: Callable[[str], None]) -> None:
        """Write `snapshot`; where that fails, training continues and one warning says so."""
        try:
            self.save(snapshot)
            self.failed = False
        except OutputError as error:
            if not self.failed:
                warn(f"{error}; training goes on without a new checkpoint")
            self.failed = True

    def load(self) -> Snapshot | None:
        """Return the snapshot of the last `save`; None where there is none.

        Raises ModelFileError for a damaged file, and for a run with other settings or data.
        """
        if self.file is None or not self.file.exists():
            return None
        arrays, metadata = container.read(self.file, limits=LIMITS)
        # A model has the same file format, so a person may have renamed one.
        if metadata.get("kind") != KIND:
            raise ModelFileError(
                f"checkpoint {self.file}", got=f"a {metadata.get('kind')}", expected=f"a {KIND}"
            )
        check_same_run("run", metadata["identity"], self.identity, self.file.parent)
        numbers = metadata["numbers"]
        if set(numbers["progress"]) != {field.name for field in fields(Progress)}:
            raise ModelFileError(f"checkpoint {self.file} has another set of numbers")
        return Snapshot(arrays, numbers)

    def clear(self) -> None:
        """Remove the checkpoint, and the folder where nothing of the user is in it."""
        if self.file is None or not self.group.leads:
            return
        self.file.unlink(missing_ok=True)
        folder = self.file.parent
        with suppress(OSError):
            for unfinished in folder.glob(".elman-*.tmp"):  # left by a kill inside a save
                unfinished.unlink(missing_ok=True)
            for workspace in folder.glob("text.*"):
                # Our files in it have no names, so a folder that is not empty belongs to the user.
                with suppress(OSError):
                    workspace.rmdir()
            # fails, and leaves everything in place, where the user keeps files in the folder
            folder.rmdir()
