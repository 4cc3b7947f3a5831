"""`--deactivate FILE:LANG`: the same evaluation once more with the neurons of a language switched off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.neurons import Deactivated, check_architecture, load_neurons, union
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pass:
    """One run over all tasks: with all neurons (`argument` None), or without some."""

    argument: str | None
    weights: dict[str, np.ndarray]
    metadata: dict[str, str]

    def check(self, model: PreTrainedModel) -> None:
        """Refuse neurons of another architecture, naming their file."""
        if self.argument is not None:
            try:
                check_architecture(self.metadata, model)
            except SeaError as error:
                raise SeaError(error.what, where=self.argument, fix=error.fix) from error

    @contextmanager
    def applied(self, model: PreTrainedModel) -> Iterator[None]:
        """The model as this pass wants it, for the time of the `with`."""
        if self.weights:
            with Deactivated(model, self.weights):
                yield
        else:
            yield


def read_passes(arguments: Sequence[str], messages: Messages) -> list[Pass]:
    """The plain pass, then one for each FILE:LANG."""
    passes = [Pass(None, {}, {})]
    for argument in arguments:
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
        passes.append(Pass(argument, weights, metadata))
    return passes
