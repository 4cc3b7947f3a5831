"""Where the neurons of a model stand in its weights, as numbers: no model and no torch is needed to read it.

A place is one part of one layer, with neurons 0 to size - 1. Its views say where these stand in each weight that has
a row or a column of theirs, also in a fused one: neuron i is index (i // block) * stride + offset + i % block of the
weight's neuron axis. So the gate of a fused gate_up_proj has offset 0 and the up offset d_ff; a head-by-head
query_key_value (GPT-NeoX, BLOOM) has blocks of head_dim every 3 * head_dim; all experts of a layer are one place with
blocks of d_ff. Statistics files keep the layout as JSON, so that selection works from them alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json

PARTS = ("ffn", "shared", "q", "k", "v", "o")
ATTENTION_PARTS = ("q", "k", "v", "o")

_VERSION = 1


@dataclass(frozen=True)
class WeightView:
    """The neurons of a place within one weight.

    Neuron i is index (i // block) * stride + offset + i % block of the weight's neuron axis. Neurons are rows (output
    features, with their bias entry) of a projection into the place, columns (input features) of one out of it.
    Raises ValueError for numbers that are no view.
    """

    name: str
    """As in neuron files: the module's path ("model.layers.3.mlp.gate_up_proj"), for experts the parameter's."""
    size: int
    """Length of the weight's neuron axis; of experts, E times that of one."""
    parameters: int
    """Numbers that one neuron has here, its bias entry included."""
    offset: int = 0
    block: int = 0
    """0: the whole place is one block."""
    stride: int = 0

    def __post_init__(self) -> None:
        apart = self.block == 0 or 0 < self.block <= self.stride
        if not self.name or self.size < 1 or self.parameters < 1 or self.offset < 0 or self.block < 0 or not apart:
            raise ValueError(f"{self} is no view of a weight")

    def physical(self, index: np.ndarray) -> np.ndarray:
        """The indices in the weight of neurons `index`, int64 of the same shape."""
        index = np.asarray(index, dtype=np.int64)
        if self.block == 0:
            return index + self.offset
        return index // self.block * self.stride + self.offset + index % self.block

    def neurons(self, physical: np.ndarray, size: int) -> np.ndarray:
        """The neurons at these indices of the weight, int64, -1 where there is none of this place of `size` neurons."""
        shifted = np.asarray(physical, dtype=np.int64) - self.offset
        if self.block == 0:
            return np.where((shifted >= 0) & (shifted < size), shifted, -1)
        index = shifted // self.stride * self.block + shifted % self.stride
        inside = (shifted >= 0) & (shifted % self.stride < self.block) & (index < size)
        return np.where(inside, index, -1)


@dataclass(frozen=True)
class Place:
    """One part of one layer. Raises ValueError where a view has no room for its neurons."""

    layer: int
    part: str
    size: int
    """Number of neurons; experts * (size // experts) of a mixture of experts."""
    views: tuple[WeightView, ...]
    """Every weight in which a neuron of this place has its row or column (FFN: gate, up, down)."""
    experts: int = 1

    def __post_init__(self) -> None:
        sound = self.layer >= 0 and self.part in PARTS and self.size > 0 and self.views
        if not sound or self.experts < 1 or self.size % self.experts:
            raise ValueError(f"layer {self.layer}, {self.part}: {self.size} neurons of {self.experts} experts")
        for view in self.views:
            if int(view.physical(np.array(self.size - 1))) >= view.size:
                raise ValueError(f"{view.name} has no room for {self.size} neurons")

    @property
    def key(self) -> tuple[int, str]:
        """(layer, part)."""
        return self.layer, self.part

    @property
    def parameters(self) -> int:
        """Numbers that one neuron has in all its weights."""
        return sum(view.parameters for view in self.views)


def axis_sizes(places: Sequence[Place]) -> dict[str, int]:
    """Weight name -> length of its neuron axis, for every weight of `places`."""
    return {view.name: view.size for place in places for view in place.views}


def layout_json(places: Sequence[Place]) -> str:
    """`places` as JSON, for the metadata of a file."""
    return json.dumps({"version": _VERSION, "places": [asdict(place) for place in places]}, separators=(",", ":"))


def parse_layout(text: str, where: str) -> tuple[Place, ...]:
    """The places of `layout_json`. Raises SeaError, with `where`, for text that is not such a layout."""
    try:
        read: Any = parse_json(text)
        if read["version"] != _VERSION:
            raise ValueError(f"version {read['version']}; this version reads {_VERSION}")
        places = tuple(_place(item) for item in read["places"])
        if len({place.key for place in places}) != len(places):
            raise ValueError("a place is there twice")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SeaError(f"the layout of its neurons is damaged: {error}", where=where, fix="make it again") from error
    return places


def _place(item: Any) -> Place:
    views = tuple(WeightView(**_typed(view, {"name": str})) for view in item["views"])
    return Place(**{**_typed({k: v for k, v in item.items() if k != "views"}, {"part": str}), "views": views})


def _typed(fields: dict[str, Any], text: dict[str, type]) -> dict[str, Any]:
    for name, value in fields.items():
        wanted = text.get(name, int)
        if type(value) is not wanted:
            raise ValueError(f"{name} is {value!r}")
    return fields
