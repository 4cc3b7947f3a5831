"""The checkpoints of one run: written at once or behind its back, the newest kept, a killed run's remains cleared.

Asynchronous: the tensors are copied to the host, and a thread writes them while the steps go on; one save at most is
under way, and its failure is raised by the next one or at the end. The copy is the price: as much host memory as the
checkpoint is large. So it is the default only where the tensors have to be copied anyway, on CUDA.
Processes that share a checkpoint agree about it in a group of their own, apart from what the steps say.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from torch import nn

from seatools.engine.checkpoint import (
    TEMPORARY,
    Snapshot,
    bytes_to_write,
    checkpoints_in,
    take_snapshot,
    write_snapshot,
)
from seatools.engine.optimise import MasterAdamW
from seatools.engine.world import SINGLE, World
from seatools.streams.errors import SeaError
from seatools.streams.free_space import check_space


class CheckpointWriter:
    """`with CheckpointWriter(folder, keep=2) as writer: writer.save(model, optimizer, state)`; the end waits."""

    def __init__(self, folder: Path, *, keep: int, asynchronous: bool = False, world: World = SINGLE) -> None:
        self.folder, self.keep, self.asynchronous, self.world = folder, keep, asynchronous, world
        self._group: Any = world.new_group()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        if world.is_main:  # what a killed run was writing or replacing
            for stale in folder.glob(f"step-*{TEMPORARY}*"):
                shutil.rmtree(stale)

    def check_room(self, model: nn.Module, optimizer: MasterAdamW) -> None:
        """Raise SeaError, on all ranks, where the disk cannot hold one checkpoint and the model at the end."""
        fault = None
        if self.world.is_main:
            try:
                check_space(
                    self.folder, bytes_to_write(model, optimizer), "one checkpoint and the model at the end",
                    fix="make room there, or write to another disk",
                )  # fmt: skip
            except SeaError as error:
                fault = error.what, error.fix
        said = self.world.first(fault)
        if said is not None:
            raise SeaError(said[0], where=str(self.folder.parent), fix=said[1])

    def save(self, model: nn.Module, optimizer: MasterAdamW, state: dict[str, Any]) -> None:
        """Save `state` (JSON data with the key `step`) and the tensors as step-N. Raises what the last save met."""
        self.finish()
        snapshot = take_snapshot(model, optimizer, state, world=self.world, copy=self.asynchronous)
        if not self.asynchronous:
            self._write(snapshot)
            return
        # A daemon: a second Ctrl-C ends the process in the middle of a write, which then stays invisible.
        self._thread = threading.Thread(target=self._write_behind, args=(snapshot,), name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the save under way, if any, and raise what it met."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.finish()
        elif self._thread is not None:
            self._thread.join()  # its own failure is not what ended the run

    def _write_behind(self, snapshot: Snapshot) -> None:
        try:
            self._write(snapshot)
        except BaseException as error:  # raised by `finish` in the main thread
            self._error = error

    def _write(self, snapshot: Snapshot) -> None:
        write_snapshot(self.folder / f"step-{snapshot.step}", snapshot, world=self.world, group=self._group)
        if self.world.is_main:
            # Later steps are damaged ones that the run did not resume from; it has another future now.
            found = checkpoints_in(self.folder)
            past = [path for path in found if int(path.name[5:]) <= snapshot.step]
            for stale in (*found[len(past) :], *past[: -self.keep]):
                # What will not go (a network folder keeps a file that somebody reads) is no reason to end the run:
                # without its other files it is no checkpoint any more, and the next save tries again.
                shutil.rmtree(stale, ignore_errors=True)
