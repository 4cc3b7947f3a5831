"""Which documents two tokenizers cut differently: their pieces compared as byte strings, so that ids do not matter."""

from __future__ import annotations

import numpy as np

from seatools.audit.token_batch import Encoded


def changed_docs(first: Encoded, second: Encoded, first_numbers: np.ndarray, second_numbers: np.ndarray) -> np.ndarray:
    """[docs] bool: the pieces are not the same.

    `*_numbers`: [ids] int64, a number for each piece, the same in both for equal bytes (`PieceTable.numbers`).
    """
    changed = first.num_tokens != second.num_tokens
    equal = ~changed
    before = first_numbers[first.ids[np.repeat(equal, first.num_tokens)]]
    after = second_numbers[second.ids[np.repeat(equal, second.num_tokens)]]
    docs = np.repeat(np.arange(len(changed)), np.where(equal, first.num_tokens, 0))
    changed[docs[before != after]] = True
    return changed
