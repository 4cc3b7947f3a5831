"""A patch file in a loaded model, for the time of a `with`; for a folder of its own there is `sea train apply-patch`.

The values under the patch must be those that it was made from (rounded to the model's dtype), so that it is never put
into another model. Memory: the values that it replaces. Weights that the model holds otherwise than its files (fused
experts) are refused by name.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seatools.engine.patch import Part, Patch
from seatools.streams.errors import SeaError
from seatools.streams.float_bits import to_float32

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Patched:
    """`with Patched(model, patch):` runs the model with the patch's new values; leaving it puts the old ones back.

    Raises SeaError for a tensor that the model has not, of another shape, or with other values than the patch's old.
    """

    def __init__(self, model: PreTrainedModel, patch: Patch) -> None:
        self._patch = patch
        self._kept: list[tuple[Tensor, Part, Tensor]] = []
        by_name = dict(model.named_parameters(remove_duplicate=False))
        self._parts: list[tuple[Tensor, Part]] = []
        done: set[int] = set()
        for name, part in patch.parts.items():
            parameter = by_name.get(name)
            if parameter is None or tuple(parameter.shape) != part.shape:
                held = "no such weight" if parameter is None else f"a weight of {[*parameter.shape]}"
                raise SeaError(
                    f'the patch changes "{name}" {[*part.shape]}, and the loaded model has {held}',
                    where=patch.name,
                    fix="sea train apply-patch MODEL PATCH -o OUT, then evaluate OUT",
                )
            if id(parameter) not in done:  # tied weights are one
                done.add(id(parameter))
                self._parts.append((parameter, part))
            if not torch.equal(_taken(parameter, part), _values(part.old, part, parameter)):
                raise SeaError(
                    f'the model\'s "{name}" is not what the patch was made from', where=patch.name,
                    fix="give the model that was trained, without the patch in it",
                )  # fmt: skip

    def __enter__(self) -> Patched:
        with torch.no_grad():
            for parameter, part in self._parts:
                self._kept.append((parameter, part, _taken(parameter, part).clone()))
                _put(parameter, part, _values(part.new, part, parameter))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with torch.no_grad():
            while self._kept:
                _put(*self._kept.pop())


def _index(parameter: Tensor, part: Part) -> Tensor:
    assert part.index is not None
    return torch.from_numpy(np.array(part.index, dtype=np.int64)).to(parameter.device)


def _taken(parameter: Tensor, part: Part) -> Tensor:
    data = parameter.detach()
    return data if part.dim is None else data.index_select(part.dim, _index(parameter, part))


def _put(parameter: Tensor, part: Part, values: Tensor) -> None:
    if part.dim is None:
        parameter.data.copy_(values)
    else:
        parameter.data.index_copy_(part.dim, _index(parameter, part), values)


def _values(bits: np.ndarray, part: Part, like: Tensor) -> Tensor:
    """Stored values as the model holds them."""
    return torch.from_numpy(np.array(to_float32(bits, part.dtype))).to(like.device, like.dtype)
