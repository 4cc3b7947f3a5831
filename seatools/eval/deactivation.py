"""The same evaluation once more with a changed model: `--deactivate FILE:LANG` and `--apply-patch PATCH`.

Neurons are switched off by hooks; a patch (sea train --save-patch) is put into the loaded weights and taken out again;
so one loading serves all passes. What a pass changes is in its samples' keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.patch import Patch


@dataclass(frozen=True)
class Pass:
    """One run over all tasks: of the model as it is, without some neurons, or with a patch."""

    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    neurons: str | None = None
    """FILE:LANG, as it was typed."""
    patch: Patch | None = None

    @property
    def file(self) -> str | None:
        """What it reads beside the model."""
        if self.neurons is not None:
            return self.neurons.rpartition(":")[0]
        return self.patch.name if self.patch is not None else None

    @property
    def config(self) -> dict[str, Any]:
        """What it adds to the config of samples."""
        found: dict[str, Any] = {"neurons_digest": None}
        if self.neurons is not None:
            found |= {"neurons_digest": _digest(self.weights), "deactivate": self.neurons}
        if self.patch is not None:
            values = {f"{name}/{part.dim}": _bits(part.new) for name, part in self.patch.parts.items()}
            values |= {f"{name}/index": part.index for name, part in self.patch.parts.items() if part.index is not None}
            found |= {"patch_digest": _digest(values), "apply_patch": self.patch.name}
        return found

    def check(self, model: PreTrainedModel) -> None:
        """Refuse neurons of another architecture, naming their file."""
        if self.neurons is not None:
            from seatools.engine.neurons import check_architecture

            try:
                check_architecture(dict(self.metadata), model)
            except SeaError as error:
                raise SeaError(error.what, where=self.neurons, fix=error.fix) from error

    @contextmanager
    def applied(self, model: PreTrainedModel) -> Iterator[None]:
        """The model as this pass wants it, for the time of the `with`."""
        if self.weights:
            from seatools.engine.deactivate import Deactivated

            with Deactivated(model, self.weights):
                yield
        elif self.patch is not None:
            from seatools.engine.patched import Patched

            with Patched(model, self.patch):
                yield
        else:
            yield


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name}\0{arrays[name].size}\0".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()[:16]


def read_passes(deactivate: Sequence[str], patches: Sequence[str], messages: Messages) -> list[Pass]:
    """The plain pass, then one for each FILE:LANG and each patch."""
    passes = [Pass()]
    for argument in deactivate:
        from seatools.engine.neurons import load_neurons, union

        path, _, lang = argument.rpartition(":")
        if not path or not lang:
            raise UsageError(f'--deactivate "{argument}" is not FILE:LANG', fix="--deactivate neurons.safetensors:th")
        sets, metadata = load_neurons(path)
        if lang not in sets:
            has = ", ".join(sorted(sets)) or "none"
            raise UsageError(f'{path}: no neurons of language "{lang}"', fix=f"it has {has}")
        weights = union(sets, [lang])
        if not any(len(indices) for indices in weights.values()):
            messages.warn(f"{argument}: no neurons of this language, so nothing is switched off")
        passes.append(Pass(weights, metadata, argument))
    for path in patches:
        from seatools.engine.patch import load_patch

        passes.append(Pass(patch=load_patch(path)))
    return passes
