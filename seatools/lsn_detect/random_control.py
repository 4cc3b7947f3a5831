"""The control: as many neurons per language, layer and part as another file has, drawn at random.

A set is worth its name only if it does what this one does not. A neuron is drawn whole, so gate row, up row and down
column stay the same neuron. Scores are 0. It needs the places only: those of a statistics file or of a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from seatools.engine.neuron_layout import Place
from seatools.lsn_detect.neuron_weights import Chosen, Key

FFN_PARTS = ("ffn", "shared")


def random_like(
    places: Sequence[Place], sets: Mapping[str, Mapping[Key, Chosen]], seed: int
) -> dict[str, dict[Key, Chosen]]:
    """Random neurons in the counts of `sets` (lang -> place), the same on every platform for one `seed`."""
    of_key = {place.key: place for place in places}
    return {
        lang: {key: _draw(of_key[key], int(np.count_nonzero(found.mask)), f"{seed} {lang}")
               for key, found in chosen.items()}
        for lang, chosen in sets.items()
    }  # fmt: skip


def _draw(place: Place, count: int, seed: str) -> Chosen:
    view = place.views[0]
    name = view.name.rpartition(".")[0] if place.part in FFN_PARTS else view.name
    if place.part not in FFN_PARTS and view.size != place.size:
        name = f"{name} {place.part}"  # one weight holds several places
    entropy = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:16], "little")
    # Raw words and a stable sort: numpy fixes those for ever, `permutation` it does not (NEP 19).
    order = np.argsort(np.random.PCG64(entropy).random_raw(place.size), kind="stable")
    mask = np.zeros(place.size, dtype=bool)
    mask[order[:count]] = True
    return Chosen(mask, np.zeros(place.size, dtype=np.float32))
