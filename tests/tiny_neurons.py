"""Neurons of tiny models, chosen by hand, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_families import FAMILIES, LAYOUTS, VOCABULARY

EVERY = [*FAMILIES, *LAYOUTS]
FFN, ATTENTION = ("gate_proj", "up_proj", "down_proj"), ("q_proj", "k_proj", "v_proj", "o_proj")


def weight_name(projection: str, layer: int = 1) -> str:
    """Of the Llama layout."""
    return f"model.layers.{layer}.{'mlp' if projection in FFN else 'self_attn'}.{projection}"


def logits(model: Any) -> torch.Tensor:
    """Of two rows of twelve tokens."""
    ids = torch.arange(3, 27).remainder(VOCABULARY).reshape(2, 12)
    with torch.no_grad():
        return model(input_ids=ids).logits


def places_of(model: Any) -> Any:
    """Every place of `model`."""
    from seatools.engine.neuron_layers import find_layers

    return find_layers(model).all_places()


def some_neurons(place: Any, seed: int = 0) -> np.ndarray:
    """Five neurons of `place`, int64 ascending, always the same for one `seed`."""
    return np.sort(np.random.default_rng([seed, place.layer, place.size]).choice(place.size, 5, replace=False))


def neurons(*indices: int) -> Any:
    """These indices, with scores 0.5, 1.5 ..."""
    from seatools.engine.neurons import Neurons

    return Neurons(np.array(indices, np.int32), np.arange(len(indices), dtype=np.float32) + 0.5)


def metadata(model: Any, **changes: Any) -> dict[str, str]:
    """Of a neuron file of `model`, as a detection would write it."""
    from seatools.engine.neurons import architecture, neuron_metadata

    about: dict[str, Any] = dict(method="lape", thresholds={"top": 0.01}, model_digest="ab12", corpora={"th": "c0"})
    return neuron_metadata(
        architecture=architecture(model), places=places_of(model), num_parameters=model.num_parameters(),
        **(about | changes),
    )  # fmt: skip


def write_neurons(model: Any, path: Path, chosen: Mapping[str, Mapping[str, Iterable[int]]]) -> Path:
    """A file with the neurons {lang: {weight: indices}}."""
    from seatools.engine.neurons import save_neurons

    sets = {lang: {name: neurons(*index) for name, index in weights.items()} for lang, weights in chosen.items()}
    save_neurons(path, sets, metadata(model))
    return path
