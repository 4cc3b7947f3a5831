"""The control: as many neurons per language, layer and matrix as another file has, drawn at random.

A set is worth its name only if it does what this one does not. Each module draws one order of its neurons and every
matrix takes its first ones, so gate, up and down stay the same neurons. Scores are 0.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.neurons import (
    ATTENTION_PROJECTIONS,
    FFN_PROJECTIONS,
    Neurons,
    NeuronSet,
    attention_layers,
    ffn_layers,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def random_like(model: PreTrainedModel, sets: NeuronSet, seed: int) -> NeuronSet:
    """Random neurons in the counts of `sets`, the same on every platform for one `seed`."""
    sizes: dict[str, int] = {}
    names = {name for weights in sets.values() for name in weights}
    if any(name.endswith(FFN_PROJECTIONS) for name in names):
        sizes |= {f"{ffn.name}.{p}": ffn.down.in_features for ffn in ffn_layers(model) for p in FFN_PROJECTIONS}
    if any(name.endswith(ATTENTION_PROJECTIONS) for name in names):
        for layer in attention_layers(model):
            rows = {"q_proj": layer.q, "k_proj": layer.k, "v_proj": layer.v}
            sizes |= {f"{layer.name}.{p}": linear.out_features for p, linear in rows.items()}
            sizes[f"{layer.name}.o_proj"] = layer.o.in_features
    return {
        lang: {name: _draw(name, sizes[name], len(neurons.indices), f"{seed} {lang}")
               for name, neurons in weights.items()}
        for lang, weights in sets.items()
    }  # fmt: skip


def _draw(name: str, size: int, count: int, seed: str) -> Neurons:
    drawn_together = name.rpartition(".")[0] if name.endswith(FFN_PROJECTIONS) else name
    entropy = int.from_bytes(hashlib.sha256(f"{seed} {drawn_together}".encode()).digest()[:16], "little")
    # Raw words and a stable sort: numpy fixes those for ever, `permutation` it does not (NEP 19).
    order = np.argsort(np.random.PCG64(entropy).random_raw(size), kind="stable")
    return Neurons(np.sort(order[:count]).astype(np.int32), np.zeros(count, np.float32))
