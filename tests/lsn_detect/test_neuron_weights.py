"""From places to weights and back."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_statistics import fused_places, llama_places

from seatools.engine.neuron_layout import Place, WeightView
from seatools.lsn_detect.neuron_weights import Chosen, as_chosen, as_weights


def random_choice(places, seed=0):
    rng = np.random.default_rng(seed)
    return {place.key: Chosen(rng.random(place.size) < 0.5, rng.random(place.size).astype(np.float32))
            for place in places}  # fmt: skip


def interleaved() -> tuple[Place, ...]:
    """q, k and v of four heads of 3, head by head in one weight (GPT-NeoX), and an FFN of two experts."""
    name = "layers.0.attention.query_key_value"
    heads = [Place(0, part, 12, (WeightView(name, 36, 5, offset=3 * at, block=3, stride=9),))
             for at, part in enumerate(("q", "k", "v"))]  # fmt: skip
    gate_up = [WeightView("layers.0.mlp.experts.gate_up_proj", 28, 5, offset=at, block=7, stride=14) for at in (0, 7)]
    down = WeightView("layers.0.mlp.experts.down_proj", 14, 5)
    return (*heads, Place(0, "ffn", 14, (*gate_up, down), experts=2))


@pytest.mark.parametrize("places", [llama_places(), fused_places(), interleaved()], ids=["llama", "fused", "heads"])
def test_the_way_back_gives_the_same_neurons_and_scores(places):
    chosen = random_choice(places)
    weights = as_weights(places, chosen)
    back, partly = as_chosen(places, weights)
    assert partly == {}
    for key, (mask, scores) in chosen.items():
        assert np.array_equal(back[key].mask, mask)
        assert np.array_equal(back[key].scores, np.where(mask, scores, 0))
    for neurons in weights.values():
        assert (neurons.indices.dtype, neurons.scores.dtype) == (np.int32, np.float32)
        assert (np.diff(neurons.indices) > 0).all()
    total = sum(len(neurons.indices) for neurons in weights.values())
    assert total == sum(chosen[place.key].mask.sum() * len(place.views) for place in places)


def test_gate_up_and_down_hold_the_same_neurons():
    places = llama_places()
    weights = as_weights(places, random_choice(places))
    gate, up, down = (weights[f"model.layers.1.mlp.{name}_proj"] for name in ("gate", "up", "down"))
    assert gate.indices.tolist() == up.indices.tolist() == down.indices.tolist()
    assert gate.scores.tolist() == down.scores.tolist()


def test_a_fused_weight_has_the_neurons_of_all_its_places_where_they_stand():
    places = interleaved()
    mask = np.zeros(12, dtype=bool)
    mask[[2, 4]] = True  # head 0 coordinate 2, head 1 coordinate 1
    scores = np.arange(12, dtype=np.float32)
    weights = as_weights(places, {(0, "q"): Chosen(mask, scores), (0, "v"): Chosen(mask, scores + 100)})
    (name,) = weights
    assert weights[name].indices.tolist() == [2, 6 + 2, 9 + 1, 9 + 6 + 1]
    assert weights[name].scores.tolist() == [2, 102, 4, 104]


def test_nothing_chosen_is_no_weight_and_partly_named_neurons_are_counted():
    places = llama_places(layers=1, parts="f")
    assert as_weights(places, {(0, "ffn"): Chosen(np.zeros(20, bool), np.zeros(20, np.float32))}) == {}
    weights = as_weights(places, random_choice(places))
    only_up = {name: neurons for name, neurons in weights.items() if name.endswith("up_proj")}
    back, partly = as_chosen(places, only_up)
    assert partly == {(0, "ffn"): back[0, "ffn"].mask.sum()}
    assert np.flatnonzero(back[0, "ffn"].mask).tolist() == weights["model.layers.0.mlp.gate_proj"].indices.tolist()
