"""The statistics of the wanted places side by side: one matrix [languages, neurons] for a criterion to work on.

Languages go by name and places by layer and part, so a choice depends neither on the order of arguments nor on that
of files. Halves are put together here, by sum, minimum or maximum as the statistic is; or one is taken alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seatools.engine.neuron_layout import PARTS, Place
from seatools.lsn_detect.neuron_weights import Key
from seatools.lsn_detect.table import StatsTable, join_of
from seatools.streams.errors import UsageError

_WITHOUT = {
    "positive": ("gate signs were not counted", "--method plnd or magnitude: LAPE needs a gate, or an activation that "
                 "keeps the sign of its input"),
    "taylor": ("the loss-aware score was not measured", "`sea lsn-detect stats --taylor`"),
}  # fmt: skip


class Stacked:
    """Of `table`, the places of `parts`: `langs` [L], `places`, `tokens` and `docs` int64 [L] of both halves or one."""

    def __init__(self, table: StatsTable, parts: Sequence[str], half: int | None = None) -> None:
        self.table, self.half = table, half
        self.langs = sorted(table.langs)
        self.places: list[Place] = sorted(
            (place for place in table.places if place.part in parts),
            key=lambda place: (place.layer, PARTS.index(place.part)),
        )
        self.sizes = np.array([place.size for place in self.places], dtype=np.int64)
        """[places]: neurons of each."""
        counts = [(stats.tokens, stats.docs) for stats in (table.langs[lang] for lang in self.langs)]
        self.tokens, self.docs = (
            np.array([column.sum() if half is None else column[half] for column in columns], dtype=np.int64)
            for columns in zip(*counts, strict=True)
        )

    @property
    def num_neurons(self) -> int:
        return int(self.sizes.sum())

    def matrix(self, name: str, at: int | None = None) -> np.ndarray:
        """[L, neurons] of the statistic `name`; `at` its place in the grid, for those that have one (first axis).

        UsageError if it was not measured for one of the places.
        """
        rows = []
        for lang in self.langs:
            values = self.table.langs[lang].values
            arrays = []
            for place in self.places:
                array = values[place.key].get(name)
                if array is None:
                    what, fix = _WITHOUT.get(name, (f"{name} was not measured", "measure again"))
                    raise UsageError(f"{what} for {place.part} of layer {place.layer}", fix=fix)
                array = array if at is None else array[at]
                arrays.append(join_of(name)(array[0], array[1]) if self.half is None else array[self.half])
            rows.append(np.concatenate(arrays))
        return np.stack(rows)

    def per_neuron(self, of_places: np.ndarray) -> np.ndarray:
        """[neurons] from one value for each place."""
        return np.repeat(of_places, self.sizes)

    def means(self, matrix: np.ndarray) -> np.ndarray:
        """[neurons]: of each neuron's place the mean of `matrix` [L, neurons] over neurons and languages."""
        starts = np.cumsum(self.sizes) - self.sizes
        return self.per_neuron(np.add.reduceat(matrix.sum(0), starts) / (self.sizes * len(matrix)))

    def split(self, row: np.ndarray) -> dict[Key, np.ndarray]:
        """`row` [neurons] as an array for each place."""
        pieces = np.split(row, np.cumsum(self.sizes)[:-1])
        return {place.key: piece for place, piece in zip(self.places, pieces, strict=True)}
