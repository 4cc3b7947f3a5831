"""From chosen neurons per place to the weights of a neuron file.

An FFN neuron is written three times, as the row of gate_proj, the row of up_proj and the column of down_proj of one
index: each alone switches it off, together they are what training it trains. (PLND's code trains up and down only;
its importance is the same for all three.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seatools.engine.neurons import FFN_PROJECTIONS, Neurons, attention_layers, ffn_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Place = tuple[int, str]  # (layer, part), a part as in options.PARTS


class Chosen(NamedTuple):
    """Of one place: which neurons, bool [n], and the score of every one, float [n]."""

    mask: np.ndarray
    scores: np.ndarray


def as_weights(model: PreTrainedModel, chosen: Mapping[Place, Chosen]) -> dict[str, Neurons]:
    """Weight name -> its neurons with their scores, ascending; weights without any are left out."""
    owners = {(ffn.index, "ffn"): ffn.name for ffn in ffn_layers(model)}
    if any(part != "ffn" for _, part in chosen):
        owners |= {(layer.index, part): layer.name for layer in attention_layers(model) for part in "vqk"}
    weights: dict[str, Neurons] = {}
    for place, (mask, scores) in chosen.items():
        if mask.any():
            neurons = Neurons(np.flatnonzero(mask).astype(np.int32), scores[mask].astype(np.float32))
            projections = FFN_PROJECTIONS if place[1] == "ffn" else (f"{place[1]}_proj",)
            weights |= {f"{owners[place]}.{projection}": neurons for projection in projections}
    return weights
