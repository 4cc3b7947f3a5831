"""The runs of a verification: the model whole, without each language's neurons, and without as many random ones.

The control has the same number of neurons in every layer and matrix (random_control.py); draw k of it is what
`select --method random --like NEURONS --seed SEED+k` draws. Neurons are switched off by hooks (engine/deactivate.py),
so nothing is copied or restored, and a run without any neuron is the plain run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.neuron_layout import Place
from seatools.engine.neurons import NeuronSet, union
from seatools.lsn_detect.neuron_weights import as_chosen, as_weights
from seatools.lsn_detect.random_control import random_like
from seatools.streams.errors import SeaError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Run:
    """What is off: nothing (`lang` None), the neurons of `lang`, or draw `draw` of its control."""

    lang: str | None
    draw: int | None
    weights: dict[str, np.ndarray]

    @property
    def is_plain(self) -> bool:
        """Whether nothing is off."""
        return not any(len(indices) for indices in self.weights.values())

    @contextlib.contextmanager
    def applied(self, model: PreTrainedModel) -> Iterator[None]:
        """The model as this run wants it, for the time of the `with`."""
        from seatools.engine.deactivate import Deactivated

        if self.is_plain:
            yield
        else:
            with Deactivated(model, self.weights):
                yield


def chosen_langs(sets: NeuronSet, scored: Sequence[str], asked: Sequence[str] | None, where: str) -> list[str]:
    """The languages to switch off, in the order of the text's: `asked`, or all that have neurons.

    Raises UsageError for one without neurons or without text; `where` is the neuron file.
    """
    known = ", ".join(sets) or "none"
    for lang in asked or ():
        if lang not in sets:
            raise UsageError(f'{where}: no neurons of language "{lang}"', fix=f"it has {known}")
    wanted = list(dict.fromkeys(asked)) if asked else list(sets)
    if not wanted:
        raise SeaError(f"{where}: neurons of no language at all", fix="make it again with sea lsn-detect")
    missing = [lang for lang in wanted if lang not in scored]
    if missing:
        named = " and ".join(missing)
        raise UsageError(
            f"{where} has neurons of {named}, and there is no text to score {'it' if len(missing) == 1 else 'them'} on",
            fix=f"--data {missing[0]}=FILE, or --langs with those to switch off",
        )
    return [lang for lang in scored if lang in wanted]


def plan_runs(sets: NeuronSet, langs: Sequence[str], controls: Sequence[NeuronSet]) -> list[Run]:
    """The plain run first, then for each language its own set and its draw from each of `controls`."""
    runs = [Run(None, None, {})]
    for lang in langs:
        runs.append(Run(lang, None, union(sets, [lang])))
        runs += [Run(lang, draw, union(control, [lang])) for draw, control in enumerate(controls)]
    return runs


def matched_controls(
    places: Sequence[Place], sets: NeuronSet, langs: Sequence[str], *, number: int, seed: int
) -> tuple[dict[str, int], list[NeuronSet]]:
    """How many neurons each of `langs` has, and `number` draws of as many random ones per layer and part.

    A neuron with rows and columns in several weights is one. Raises SeaError for a weight that no place has, as its
    neurons would have no control.
    """
    known = {view.name for place in places for view in place.views}
    for lang in langs:
        strange = next((name for name in sets[lang] if name not in known), None)
        if strange is not None:
            raise SeaError(f"no neurons are known in {strange} of this model, and {lang} has some there")
    chosen = {lang: as_chosen(places, sets[lang])[0] for lang in langs}
    counts = {lang: sum(int(found.mask.sum()) for found in of_place.values()) for lang, of_place in chosen.items()}
    drawn = [random_like(places, chosen, seed + draw) for draw in range(number)]
    return counts, [{lang: as_weights(places, control[lang]) for lang in langs} for control in drawn]
