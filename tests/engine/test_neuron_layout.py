"""Neurons of a place in the axes of its weights, and the layout as text."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.neuron_layout import PARTS, Place, WeightView, axis_sizes, layout_json, parse_layout
from seatools.streams.errors import SeaError


@st.composite
def views(draw: st.DrawFn) -> tuple[WeightView, int]:
    """A view, and the number of neurons of its place: one block, or several blocks at equal distances."""
    offset, block = draw(st.integers(0, 9)), draw(st.integers(0, 5))
    if block == 0:
        size = draw(st.integers(1, 20))
        return WeightView("w", offset + size + draw(st.integers(0, 5)), 3, offset), size
    number, stride = draw(st.integers(1, 6)), block + draw(st.integers(0, 7))
    size = offset + (number - 1) * stride + block + draw(st.integers(0, 5))
    return WeightView("w", size, 3, offset, block, stride), number * block


@given(views())
def test_physical_is_the_formula_one_by_one_ascending_and_inside(drawn: tuple[WeightView, int]) -> None:
    view, size = drawn
    found = view.physical(np.arange(size))
    block, stride = (view.block, view.stride) if view.block else (size, size)
    assert found.tolist() == [i // block * stride + view.offset + i % block for i in range(size)]
    assert found.dtype == np.int64
    assert (np.diff(found) > 0).all() and found[0] >= 0 and found[-1] < view.size
    assert view.physical(np.int64(size - 1)) == found[-1]


@given(views())
def test_neurons_are_found_back_and_only_those_of_the_place(drawn: tuple[WeightView, int]) -> None:
    view, size = drawn
    back = view.neurons(np.arange(view.size), size)
    there = {int(index): neuron for neuron, index in enumerate(view.physical(np.arange(size)))}
    assert back.tolist() == [there.get(index, -1) for index in range(view.size)]


def some_places() -> tuple[Place, ...]:
    qkv = "h.0.attn.query_key_value"
    return (
        Place(0, "ffn", 12, (WeightView("h.0.e.gate_up", 24, 8, 0, 6, 12), WeightView("h.0.e.gate_up", 24, 8, 6, 6, 12),
                             WeightView("h.0.e.down", 12, 8)), experts=2),
        Place(0, "v", 8, (WeightView(qkv, 24, 9, 8, 4, 12),)),
    )  # fmt: skip


def test_a_layout_comes_back_from_its_json() -> None:
    places = some_places()
    assert parse_layout(layout_json(places), "x") == places
    assert parse_layout(layout_json([]), "x") == ()
    assert places[0].key == (0, "ffn") and places[0].parameters == 24
    assert axis_sizes(places) == {"h.0.e.gate_up": 24, "h.0.e.down": 12, "h.0.attn.query_key_value": 24}


def changed(**fields: Any) -> str:
    layout = json.loads(layout_json(some_places()))
    layout["places"][1] |= fields
    return json.dumps(layout)


def changed_view(**fields: Any) -> str:
    view = dataclasses.asdict(some_places()[1].views[0]) | fields
    return changed(views=[{key: value for key, value in view.items() if value is not None}])


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"version": 1}', '{"version": 2, "places": []}', '{"version": 1, "places": [3]}',
        layout_json(some_places())[:-9], json.dumps({"version": 1, "places": [{"layer": 0}]}),
        changed(part="x"), changed(layer=-1), changed(size=0), changed(size=25), changed(experts=3), changed(experts=0),
        changed(size="8"), changed(size=True), changed(views=[]), changed(extra=1), changed(part="ffn"),
        changed_view(size=19), changed_view(block=13), changed_view(block=-1), changed_view(offset=-1),
        changed_view(name=""), changed_view(name=3), changed_view(parameters=0), changed_view(parameters=None),
        changed_view(stride=0),
    ],
)  # fmt: skip
def test_a_damaged_layout_is_refused_with_its_file(text: str) -> None:
    with pytest.raises(SeaError, match=r"th\.safetensors"):
        try:
            parse_layout(text, "th.safetensors")
        except SeaError as error:
            raise SeaError(f"{error.what} {error.where}") from error


def test_a_place_without_room_in_a_weight_is_none() -> None:
    with pytest.raises(ValueError, match="w has no room for 5 neurons"):
        Place(0, PARTS[0], 5, (WeightView("w", 8, 1, offset=4),))
