"""Equal n-grams have equal hashes, others others."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.text.cleaning.ngram_hashes import ngram_hashes


@pytest.mark.parametrize("n", [1, 2, 3, 5, 20, 39, 40])
def test_hashes_are_a_name_for_each_ngram(n):
    codes = np.random.default_rng(n).integers(0, 3, 4000).astype(np.uint32)
    hashes = ngram_hashes(codes, n)
    grams = [codes[at : at + n].tobytes() for at in range(len(codes) - n + 1)]
    assert len(hashes) == len(grams)
    assert len(set(zip(hashes.tolist(), grams, strict=True))) == len(set(grams)) == len(set(hashes.tolist()))


def test_type_and_place_do_not_matter_and_short_is_empty():
    text = np.array([5, 6, 7, 5, 6, 7], np.uint16)
    hashes = ngram_hashes(text, 3)
    assert hashes[0] == hashes[3] == ngram_hashes(text[:3].astype(np.uint32), 3)[0]
    assert len(ngram_hashes(text, 7)) == 0
