"""Checkpoints of a run: complete or invisible, exact to the bit, and readable by any number of processes.

OUT/checkpoints/step-N holds model.safetensors (each tied weight once), optimizer.safetensors (moments and fp32 masters)
and state.json (the step, what the caller adds, and the byte size of each file). It is written beside its place,
fsynced and renamed, so that a crash leaves nothing that looks whole; a copy cut short later is known by its sizes.
N processes that share the weights write model-00001-of-0000N.safetensors and so on, each its own rows, in the form of
torch.distributed.checkpoint's safetensors (its HuggingFaceStorageReader reads them). They are written here and not by
its writer because that serialises each file in memory once more and knows no masters (`tensor_rows`).
No random states are kept: the data order is a function of the seed and the step, and dropout is off.
No pickle. Cost: 14 B a trained bf16 weight, 12 B an fp32 one.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seatools.engine.optimise import MasterAdamW
from seatools.engine.tensor_rows import (
    MODEL_KIND,
    OPTIMIZER_KIND,
    Rows,
    SavedTensors,
    like_shared,
    model_rows,
    optimizer_rows,
)
from seatools.engine.world import SINGLE, World
from seatools.streams.errors import SeaError
from seatools.streams.outputs import sync_file, sync_folder
from seatools.streams.parsed import parse_json

FORMAT = "sea-checkpoint-1"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
TEMPORARY = ".tmp"  # step-N.tmp is being written, step-N.tmp-replaced waits to be deleted


@dataclass(frozen=True)
class Snapshot:
    """What one process adds to a checkpoint, on the host: file name -> (tensors, metadata)."""

    step: int
    state: dict[str, Any]
    files: dict[str, tuple[dict[str, Tensor], dict[str, str]]]
    all_files: tuple[str, ...]
    """The names of those of all processes."""


def take_snapshot(
    model: nn.Module, optimizer: MasterAdamW, state: dict[str, Any], *, world: World = SINGLE, copy: bool = False
) -> Snapshot:
    """The tensors that this process saves. `copy`: apart from those in use, so that training may go on."""
    if not isinstance(state.get("step"), int):
        raise ValueError("the state of a checkpoint needs its step")
    files = {}
    all_files: list[str] = []
    for kind, rows in ((MODEL_KIND, model_rows(model)), (OPTIMIZER_KIND, optimizer_rows(optimizer))):
        shared = any(part.shared for part in rows.values())
        ranks = [f"-{rank + 1:05d}-of-{world.size:05d}" for rank in range(world.size)] if shared else [""]
        all_files += [f"{kind}{rank}.safetensors" for rank in ranks]
        if not shared and not world.is_main:
            continue
        # What every process holds whole is written by the main one alone.
        mine = {key: part for key, part in rows.items() if (len(part.tensor) if part.shared else world.is_main)}
        metadata = {}
        if shared:
            begin = {key: [part.start, *[0] * len(part.shape)][: len(part.shape)] for key, part in mine.items()}
            metadata = {"DCP_SHARDING_INFO": json.dumps({key: {"saved_offsets": at} for key, at in begin.items()})}
        name = f"{kind}{ranks[world.rank if shared else 0]}.safetensors"
        files[name] = {key: _on_host(part.tensor, copy) for key, part in mine.items()}, metadata
    return Snapshot(state["step"], state, files, tuple(all_files))


def bytes_to_write(model: nn.Module, optimizer: MasterAdamW) -> int:
    """Bytes of a checkpoint, of all processes, and of the model that a run leaves at its end."""
    weights, state = model_rows(model).values(), optimizer_rows(optimizer).values()
    saved = sum(math.prod(part.shape) * part.tensor.element_size() for part in (*weights, *state))
    # Shared weights are fp32 and the model at the end may be bf16.
    left = sum(math.prod(part.shape) * (2 if part.shared else part.tensor.element_size()) for part in weights)
    return saved + left


def _on_host(tensor: Tensor, copy: bool) -> Tensor:
    tensor = tensor.detach()
    return tensor.to("cpu", copy=copy).contiguous()


def write_snapshot(folder: Path, snapshot: Snapshot, *, world: World = SINGLE, group: Any = None) -> None:
    """Write a checkpoint to `folder` (OUT/checkpoints/step-N); every rank calls it with its own snapshot.

    A checkpoint already there is replaced once the new one is complete. Raises SeaError where the disk does not take
    it, on all ranks when on one; the checkpoints that were there stay.
    """
    temporary = folder.with_name(folder.name + TEMPORARY)
    error: BaseException | None = None
    for act in (_prepare, _write_files, _commit):  # every rank ends one before any begins the next
        try:
            act(folder, temporary, snapshot, world)
        except BaseException as caught:
            error = caught
        if world.agree(error is not None, group=group)[0]:
            break
    else:
        return
    if world.is_main:
        shutil.rmtree(temporary, ignore_errors=True)
    if error is None:
        raise SeaError(f"another process could not write its part of the checkpoint of step {snapshot.step}")
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        reason = getattr(error, "strerror", None) or str(error)
        raise SeaError(
            f"the checkpoint of step {snapshot.step} cannot be written: {reason}",
            where=str(folder),
            fix="earlier checkpoints are whole: make room there (or a smaller --keep), then --resume",
        ) from error
    raise error


def _prepare(folder: Path, temporary: Path, snapshot: Snapshot, world: World) -> None:
    if world.is_main:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.glob(f"{folder.name}{TEMPORARY}*"):
            shutil.rmtree(stale)
        temporary.mkdir()


def _write_files(folder: Path, temporary: Path, snapshot: Snapshot, world: World) -> None:
    from safetensors.torch import save_file

    for name, (tensors, metadata) in snapshot.files.items():
        save_file(tensors, temporary / name, metadata or None)
        sync_file(temporary / name)


def _commit(folder: Path, temporary: Path, snapshot: Snapshot, world: World) -> None:
    if not world.is_main:
        return
    # Asked for by name: a listing of a network folder may be of before the other machines wrote theirs.
    names = sorted(snapshot.all_files)
    document = {
        "format": FORMAT,
        "files": {name: (temporary / name).stat().st_size for name in names},
        "state": snapshot.state,
    }
    (temporary / STATE).write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")
    for name in names:  # safetensors makes them for their owner's eyes only
        shutil.copymode(temporary / STATE, temporary / name)
    sync_file(temporary / STATE)
    sync_folder(temporary)
    if folder.exists():
        replaced = folder.with_name(f"{folder.name}{TEMPORARY}-replaced")
        folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced)
    else:
        temporary.rename(folder)
    sync_folder(folder.parent)


def latest_checkpoint(out: Path) -> Path | None:
    """The complete checkpoint with the highest step under `out`/checkpoints, or None."""
    for path in reversed(checkpoints_in(out / "checkpoints")):
        try:
            _read_document(path)
        except SeaError:
            continue
        return path
    return None


def checkpoints_in(folder: Path) -> list[Path]:
    """The folders step-N below `folder` by their steps, complete or damaged; none that is being written."""
    found = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name) and path.is_dir())
    return sorted(found, key=lambda path: int(path.name[5:]))


def checkpoint_state(folder: Path) -> dict[str, Any]:
    """The `state` that was saved, its "step" a number. Raises SeaError for a folder that is no complete checkpoint."""
    state: dict[str, Any] = _read_document(folder)["state"]
    return state


def load_checkpoint(folder: Path, *, model: nn.Module, optimizer: MasterAdamW | None = None) -> dict[str, Any]:
    """Put the tensors of a checkpoint into `model` and `optimizer` and return the `state` that was saved.

    Shared over processes or not, saved so or not: each reads the rows that it holds.
    Raises SeaError for a folder that is not a complete checkpoint, or one of another model or other trained tensors.
    Names and shapes are checked before the first weight is changed.
    """
    document = _read_document(folder)
    try:
        with SavedTensors(folder, document["files"]) as saved:
            wanted = model_rows(model)
            _check_same_model(folder, wanted, saved)
            if optimizer is not None:
                optimizer.load_state_dict(_optimizer_tensors(optimizer, saved))
            with torch.no_grad():
                for name, part in wanted.items():
                    part.tensor.copy_(saved.read_weight(name, part))
    except SeaError as error:
        raise SeaError(error.what, where=error.where or str(folder), fix=error.fix) from error
    except Exception as error:  # safetensors raises its own kinds for damaged files
        raise SeaError(f"cannot be read: {error}", where=str(folder)) from error
    state: dict[str, Any] = document["state"]
    return state


def _optimizer_tensors(optimizer: MasterAdamW, saved: SavedTensors) -> Mapping[str, Tensor]:
    """This process's rows of the saved optimiser state, as the optimiser will check and take them."""
    wanted = optimizer_rows(optimizer)
    names = set(saved.names(OPTIMIZER_KIND))
    if any(part.shared for part in wanted.values()):  # the fp32 weights are the masters, read as weights
        names -= {name for name in names if name.endswith(".master") and name not in wanted}
    elif saved.shared:  # and the other way round
        names |= {name for name in wanted if name.endswith(".master") and name.removesuffix(".master") in saved.weights}
    own = optimizer.state_dict()
    rows = {name: saved.read_state(name, wanted.get(name)) for name in names}
    return {name: like_shared(own[name], part) if name in own else part for name, part in rows.items()}


def _check_same_model(folder: Path, wanted: dict[str, Rows], saved: SavedTensors) -> None:
    names = saved.names(MODEL_KIND)
    odd = sorted(wanted.keys() ^ set(names))
    if odd:
        raise SeaError(f"is a checkpoint of another model: {', '.join(odd[:3])}", where=str(folder / MODEL))
    shared = any(part.shared for part in wanted.values())
    for name, part in wanted.items():
        shape, dtype = saved.form(MODEL_KIND, name)
        mine = _SAFETENSORS_DTYPE[part.tensor.dtype]
        # Shared weights are fp32 whatever they are multiplied in; alone they have the format that was asked for.
        same = dtype == mine or (saved.shared != shared and {dtype, mine} <= {"F32", "BF16"})
        if shape != part.shape or not same:
            raise SeaError(
                f"has {name} as {dtype} {list(shape)}, the model as {mine} {list(part.shape)}",
                where=str(folder / MODEL),
            )


_SAFETENSORS_DTYPE = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _read_document(folder: Path) -> dict[str, Any]:
    """state.json of a complete checkpoint; SeaError for anything else."""
    path = folder / STATE
    try:
        document = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise SeaError("is not a checkpoint: it has no state.json", where=str(folder)) from error
    except (ValueError, OSError) as error:
        raise SeaError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SeaError(f"is not a checkpoint of this version ({FORMAT})", where=str(path))
    files, state = document.get("files"), document.get("state")
    step = state.get("step") if isinstance(state, dict) else None
    if not isinstance(files, dict) or type(step) is not int or step < 0:
        raise SeaError("names no files or no step: the checkpoint is damaged", where=str(path))
    for name, size in files.items():
        if name != os.path.basename(name) or name in ("", ".", ".."):  # nothing outside the folder belongs to it
            raise SeaError(f"names {name!r}, which is no file of its folder", where=str(path))
        file = folder / name
        found = os.path.getsize(file) if os.path.isfile(file) else None
        if found != size:
            was = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise SeaError(f"{was}: the checkpoint is incomplete", where=str(file), fix="use an earlier checkpoint")
    return document
