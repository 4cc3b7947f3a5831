"""The control: which neurons a seed draws, for ever."""

from __future__ import annotations

import numpy as np
from made_up_statistics import fused_places, llama_places

from seatools.lsn_detect.neuron_weights import Chosen
from seatools.lsn_detect.random_control import random_like

GOLDEN = {(0, "ffn"): [0, 7, 8, 13], (0, "q"): [2, 3, 9], (0, "k"): [2, 7], (0, "v"): []}


def like(places, counts):
    return {"th": {place.key: Chosen(np.arange(place.size) < counts[place.part], np.ones(place.size, np.float32))
                   for place in places}}  # fmt: skip


def drawn(places, counts, seed=0):
    found = random_like(places, like(places, counts), seed)["th"]
    return {key: np.flatnonzero(chosen.mask).tolist() for key, chosen in found.items()}


def test_the_draw_of_a_seed_is_fixed():
    found = drawn(llama_places(layers=1), {"ffn": 4, "q": 3, "k": 2, "v": 0})
    assert found == GOLDEN
    assert drawn(llama_places(layers=1), {"ffn": 4, "q": 3, "k": 2, "v": 0}, seed=1) != GOLDEN


def test_more_neurons_are_the_same_ones_and_others():
    few, many = (drawn(llama_places(), {"ffn": number, "q": number, "k": 2, "v": 2}) for number in (3, 8))
    assert all(set(few[key]) <= set(many[key]) for key in few)
    assert many[0, "ffn"] != many[1, "ffn"]


def test_places_of_one_fused_weight_are_drawn_apart():
    places = fused_places(hidden=16, kv=16)
    found = drawn(places, {"ffn": 5, "q": 5, "k": 5, "v": 5})
    assert len({tuple(found[0, part]) for part in "qkv"}) == 3


def test_every_neuron_can_be_drawn_about_as_often():
    places = llama_places(layers=1, parts="f")
    hits = np.zeros(20)
    for seed in range(2000):
        hits[drawn(places, {"ffn": 5}, seed)[0, "ffn"]] += 1
    assert abs(hits - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)
