"""The rows of a tensor that a process holds, and those that a checkpoint's files hold: what resharding is made of.

FSDP2 cuts each parameter along its first dimension into `size` pieces of ceil(n / size) rows, the last ones shorter or
empty; moments and masters are cut like their parameter. A file of a shared checkpoint names the first row of each
tensor in its header, as torch.distributed.checkpoint does. Reading takes exactly the wanted rows out of whichever
files hold them, so that nothing is gathered and any number of processes can read what any other number wrote.
Shared weights are fp32 and their own masters; a bf16 model alone has masters beside its weights. The readers here
give either form from the other, so that neither is an obstacle to resuming.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from seatools.engine.optimise import MasterAdamW

MODEL_KIND, OPTIMIZER_KIND = "model", "optimizer"


@dataclass(frozen=True)
class Rows:
    """`tensor`: the rows from `start` on of a tensor of `shape`. `shared`: other processes hold the rest."""

    tensor: Tensor
    shape: tuple[int, ...]
    start: int
    shared: bool


def is_shared(tensor: Tensor) -> bool:
    """Whether `tensor` is an FSDP2 parameter (a DTensor; importing its class takes a second)."""
    return hasattr(tensor, "placements")


def rows_of(tensor: Any) -> Rows:
    """The rows of `tensor` that this process holds; its memory, not a copy."""
    tensor = tensor.detach()
    shape = tuple(tensor.shape)
    if not is_shared(tensor):
        return Rows(tensor, shape, 0, False)
    mesh = tensor.device_mesh
    if mesh.ndim != 1 or not tensor.placements[0].is_shard(0):
        raise SeaError(f"a tensor is laid out as {tensor.placements}, not cut along its first dimension")
    local = tensor.to_local()
    piece = -(-shape[0] // mesh.size())
    start = min(mesh.get_local_rank() * piece, shape[0])
    assert len(local) == min(piece, shape[0] - start)
    return Rows(local, shape, start, True)


def model_rows(model: nn.Module) -> dict[str, Rows]:
    """Parameters, each tied one under its first name only, and the buffers that belong to the model's state."""
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    every_name = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tensors.update((name, tensor) for name, tensor in model.state_dict().items() if name not in every_name)
    return {name: rows_of(tensor) for name, tensor in tensors.items()}


def optimizer_rows(optimizer: MasterAdamW) -> dict[str, Rows]:
    """The optimiser's state by its names."""
    return {key: rows_of(tensor) for key, tensor in optimizer.state_dict().items()}


def like_shared(whole: Any, rows: Tensor) -> Tensor:
    """`rows`, this process's part, as the DTensor that `whole` is; plain where that is plain."""
    if not is_shared(whole):
        return rows
    rows = rows.to(whole.device)
    made: Tensor = type(whole).from_local(
        rows, whole.device_mesh, whole.placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )
    return made


@dataclass(frozen=True)
class _Piece:
    start: int
    rows: int
    file: Any


class SavedTensors:
    """The tensors of a checkpoint's files, whole or in pieces. `with SavedTensors(folder, names) as saved:`."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder, self._names = folder, sorted(names)
        self._pieces: dict[tuple[str, str], list[_Piece]] = {}
        self._forms: dict[tuple[str, str], tuple[tuple[int, ...], str]] = {}
        self._open = ExitStack()
        self.shared = False  # whether several processes wrote it

    def __enter__(self) -> SavedTensors:
        from safetensors import safe_open

        for name in self._names:
            file = self._open.enter_context(safe_open(self._folder / name, framework="pt"))
            cut = (file.metadata() or {}).get("DCP_SHARDING_INFO")
            self.shared = self.shared or cut is not None
            starts = json.loads(cut) if cut else {}
            kind = MODEL_KIND if name.startswith(MODEL_KIND) else OPTIMIZER_KIND
            for key in file.keys():  # noqa: SIM118 (not a dict)
                found = file.get_slice(key)
                shape, start = tuple(found.get_shape()), (starts.get(key, {}).get("saved_offsets") or [0])[0]
                self._pieces.setdefault((kind, key), []).append(_Piece(start, shape[0] if shape else 0, file))
                self._forms[kind, key] = (shape, found.get_dtype())
        for at, pieces in self._pieces.items():
            pieces.sort(key=lambda piece: piece.start)
            shape, dtype = self._forms[at]
            if shape:
                self._forms[at] = ((sum(piece.rows for piece in pieces), *shape[1:]), dtype)
            ends = [0, *(piece.start + piece.rows for piece in pieces)]
            if any(piece.start != end for piece, end in zip(pieces, ends, strict=False)):
                self._open.close()
                raise SeaError(f"has rows of {at[1]} missing or twice", where=str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def names(self, kind: str) -> list[str]:
        """The names of the tensors of the model or of the optimiser."""
        return [name for of, name in self._forms if of == kind]

    @property
    def weights(self) -> set[str]:
        """The names of the model's tensors."""
        return set(self.names(MODEL_KIND))

    def form(self, kind: str, name: str) -> tuple[tuple[int, ...], str]:
        """The whole shape of a tensor, and its format as safetensors calls it."""
        return self._forms[kind, name]

    def read_weight(self, name: str, part: Rows) -> Tensor:
        """The rows of a weight that `part` holds: of its fp32 master where the part is its own master."""
        master = (OPTIMIZER_KIND, f"{name}.master")
        if part.shared and master in self._forms and self._forms[master][0] == part.shape:
            return self._read(*master, part)
        return self._read(MODEL_KIND, name, part)

    def read_state(self, name: str, part: Rows | None) -> Tensor:
        """The rows of a tensor of the optimiser; a master that was not saved is the weight itself."""
        if (OPTIMIZER_KIND, name) not in self._forms:
            return self._read(MODEL_KIND, name.removesuffix(".master"), part)
        return self._read(OPTIMIZER_KIND, name, part)

    def _read(self, kind: str, name: str, part: Rows | None) -> Tensor:
        pieces, (shape, _) = self._pieces[kind, name], self._forms[kind, name]
        if part is None or part.shape != shape:  # a shape that the reader's caller will refuse
            part = Rows(torch.empty(0), shape, 0, False)
        if len(pieces) == 1 and not part.shared:
            tensor: Tensor = pieces[0].file.get_tensor(name)
            return tensor
        start = part.start
        end = start + (len(part.tensor) if part.shared else shape[0])
        found = [
            piece.file.get_slice(name)[max(start - piece.start, 0) : end - piece.start]
            for piece in pieces
            if piece.start < end and start < piece.start + piece.rows
        ]
        return torch.cat(found) if found else part.tensor.new_empty((0, *shape[1:]))
