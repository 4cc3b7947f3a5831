"""For each new row the old row that points most nearly the same way: a look at what an initialisation did.

Cosine in fp32, the old rows read in chunks that all new rows are multiplied with; rows of zeros are no neighbours.
That is 2 * new * old * columns operations, 5 to 6 CPU seconds for 2,048 new on 32,000 x 4,096 (measured), more than all
else here computes. So beyond `_EXACT` rows are first folded to 256 columns (count sketch: random signs, columns
added up by their number modulo 256), and only the four rows that then look nearest, and the token's own pieces, are
compared in full: 1.3 CPU seconds, the same neighbour for all 2,048. Folding errs by 0.06 (1 / sqrt 256), so among
neighbours under a cosine of about 0.35 another one may be named; the cosine given is exact for the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seatools.embed_init.array_place import NUMPY, Place
from seatools.embed_init.old_rows import chunks
from seatools.streams.float_bits import to_float32

_EXACT = 20_000_000_000  # operations: a quarter of a second on two cores
_FOLDED = 256
_LOOKED_AT = 4


def nearest(
    rows: np.ndarray,
    stored: np.ndarray,
    dtype: str,
    ids: list[int],
    place: Place = NUMPY,
    likely: Sequence[Sequence[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """For each of `rows` fp32 [new, columns] the nearest row among `ids`: (id int64 [new], cosine float32 [new]).

    `likely`: for each row, ids to compare in full whatever the folded rows say.
    """
    if place.device is None and 2 * len(rows) * len(ids) * rows.shape[1] > _EXACT:
        return _by_folded_rows(rows, stored, dtype, np.asarray(ids), likely or [()] * len(rows))
    xp = place.xp
    best_id = np.full(len(rows), ids[0], dtype=np.int64)
    best = np.full(len(rows), -np.inf, dtype=np.float32)
    directions = place.put(_unit(rows))
    # Short chunks also bound the [new, chunk] products.
    for chunk in chunks(np.asarray(ids), max(stored.shape[1], len(rows))):
        block = to_float32(stored[chunk], dtype)
        cosines = directions @ place.put(_unit(block)).T
        cosines[:, place.put(np.logical_not(block.any(axis=1)))] = -np.inf
        position = place.get(xp.argmax(cosines, axis=1))
        value = place.get(xp.amax(cosines, axis=1))
        better = value > best
        best[better], best_id[better] = value[better], chunk[position[better]]
    return best_id, best


def _by_folded_rows(
    rows: np.ndarray, stored: np.ndarray, dtype: str, ids: np.ndarray, likely: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    signs = np.random.Generator(np.random.PCG64(0)).choice([-1, 1], rows.shape[1]).astype(np.float32)
    directions = _unit(rows)
    folded = _fold(directions.copy(), signs)
    found_ids: list[np.ndarray] = []
    found: list[np.ndarray] = []
    for chunk in chunks(ids, 4 * max(stored.shape[1], len(rows))):  # 8 MB: they stay in the cache from step to step
        block = to_float32(stored[chunk], dtype)  # a copy in every dtype, so `_fold` may use it up
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        cosines = folded @ (_fold(block, signs) / np.where(norms == 0, 1, norms)[:, None]).T
        cosines[:, norms == 0] = -np.inf
        position = cosines.argmax(axis=1)
        found_ids.append(chunk[position])
        found.append(cosines[np.arange(len(rows)), position])
    places = np.argsort(np.negative(found), axis=0, kind="stable")[:_LOOKED_AT]
    candidates = np.take_along_axis(np.asarray(found_ids), places, axis=0)
    allowed = np.zeros(len(stored), dtype=bool)
    allowed[ids] = True
    best_id = np.full(len(rows), ids[0], dtype=np.int64)
    best = np.full(len(rows), -np.inf, dtype=np.float32)
    for number, own in enumerate(likely):
        tried = np.unique([*candidates[:, number], *(id for id in own if allowed[id])])
        block = to_float32(stored[tried], dtype)
        cosines = np.where(block.any(axis=1), _unit(block) @ directions[number], -np.inf)
        best_id[number], best[number] = tried[cosines.argmax()], cosines.max()
    return best_id, best


def _fold(values: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """[rows, columns], which is used up, to [rows, 256]; dot products stay, on average over the signs (Charikar et al.
    2002)."""
    signed = np.multiply(values, signs, out=values)
    whole = values.shape[1] // _FOLDED * _FOLDED
    folded = signed[:, :whole].reshape(len(values), -1, _FOLDED).sum(axis=1)
    folded[:, : values.shape[1] - whole] += signed[:, whole:]
    return folded


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.where(norms == 0, 1, norms)
