"""Where new tokens stand in the user's text: short contexts to learn a row from (`--method distill`).

A context is read twice. The model as it is reads only old tokens, each new one spelled by its pieces; the second
reading differs in one token, which stands as itself wherever its pieces stood. Positions that both readings have, the
last piece standing for the token, are paired. Contexts are at most `CONTEXT` old tokens, the token in the middle; of
more occurrences than are needed, which ones are taken depends on the seed and the token's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

CONTEXT = 50
"""Old tokens in a context (snippet_len of the released code of arXiv 2505.20133)."""


class Context(NamedTuple):
    """One context of one token."""

    pieces: np.ndarray
    """int64 [old tokens]: read by the model as it is."""
    merged: np.ndarray
    """int64 [fewer]: the same with `NEW` for the token."""
    paired: np.ndarray
    """int64 [fewer]: of each position of `merged` the position of `pieces` that ends with it."""


NEW = -1


def find_contexts(
    documents: Sequence[np.ndarray],
    spelled: Mapping[int, Sequence[int]],
    ids: Sequence[int],
    bos: int | None,
    wanted: int,
    seed: int,
) -> dict[int, list[Context]]:
    """For each of `ids` that occurs in `documents` (ids of the new tokenizer) up to `wanted` contexts.

    `spelled`: id -> old ids, of every token that has any; a context ends where a token has none. `bos`: the old id
    that stands before every context, if the model wants one.
    """
    asked = {id for id in ids if spelled.get(id)}
    places: dict[int, list[tuple[int, int]]] = {}
    for number, document in enumerate(documents):
        for position in np.flatnonzero(np.isin(document, np.fromiter(asked, np.int64, len(asked)))):
            places.setdefault(int(document[position]), []).append((number, int(position)))
    found: dict[int, list[Context]] = {}
    for id, occurrences in sorted(places.items()):
        order = np.random.default_rng([seed, id]).permutation(len(occurrences))[:wanted]
        found[id] = [_context(documents[number], position, spelled, bos) for number, position in
                     (occurrences[index] for index in order)]  # fmt: skip
    return found


def _context(document: np.ndarray, position: int, spelled: Mapping[int, Sequence[int]], bos: int | None) -> Context:
    id = int(document[position])
    free = max(0, CONTEXT - len(spelled[id]))
    before = _side(document, position - 1, -1, spelled, free // 2)
    after = _side(document, position + 1, 1, spelled, free - sum(len(spelled[other]) for other in before))
    pieces: list[int] = [] if bos is None else [bos]
    merged, paired = list(pieces), list(range(len(pieces)))
    for other in (*reversed(before), id, *after):
        start = len(pieces)
        pieces += spelled[other]
        merged += [NEW] if other == id else spelled[other]
        paired += [len(pieces) - 1] if other == id else range(start, len(pieces))
    return Context(np.array(pieces), np.array(merged), np.array(paired))


def _side(document: np.ndarray, start: int, step: int, spelled: Mapping[int, Sequence[int]], room: int) -> list[int]:
    """The tokens from `start` on, going by `step`, that take at most `room` old tokens; the nearest first."""
    side: list[int] = []
    position = start
    while 0 <= position < len(document):
        id = int(document[position])
        room -= len(spelled.get(id) or ())
        if room < 0 or not spelled.get(id):
            break
        side.append(id)
        position += step
    return side
