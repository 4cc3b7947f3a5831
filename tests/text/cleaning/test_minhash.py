"""MinHash signatures: like the definition, for any batch; their estimate of similarity is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.text.cleaning import minhash
from seatools.text.cleaning.minhash import (
    EMPTY,
    band_keys,
    bands_and_rows,
    bin_minima,
    densified,
    normalise,
    similarity,
    sketches,
)

texts = st.lists(st.text(st.characters(codec=None), max_size=40), max_size=12)


def grams(text: str, n: int = 5) -> set[str]:
    text = normalise(text)
    return {text[i : i + n] for i in range(max(1, len(text) - n + 1))}


def jaccard(a: str, b: str) -> float:
    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


def test_case_spaces_and_composition_make_no_difference() -> None:
    assert normalise(" Vie\u0323\u0302t\u00a0\n NAM\u3000") == "vi\u1ec7t nam"
    assert normalise("ส\u0e33เร็จ") == "ส\u0e33เร็จ"


@given(texts, st.lists(st.integers(0, 12), max_size=4))
@settings(max_examples=60)
def test_signatures_do_not_depend_on_the_batch(given_texts: list[str], cuts: list[int]) -> None:
    whole = bin_minima(given_texts)
    bounds = [0, *sorted(min(cut, len(given_texts)) for cut in cuts), len(given_texts)]
    parts = [bin_minima(given_texts[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given_texts = ["short", "x" * 50, "", "abcdefghij" * 9, "ab"]
    whole = bin_minima(given_texts)
    monkeypatch.setattr(minhash, "BLOCK_CHARS", 30)
    monkeypatch.setattr(minhash, "CACHED_CHARS", 7)
    assert np.array_equal(bin_minima(given_texts), whole)


@given(texts)
@settings(max_examples=60)
def test_a_signature_is_the_least_hash_of_each_bin_over_the_set_of_grams(given_texts: list[str]) -> None:
    """The signature of a text is the elementwise minimum over its n-grams, each given as a text of its own."""
    for text, found in zip(given_texts, bin_minima(given_texts), strict=True):
        normal = normalise(text)
        if len(normal) < 5:
            continue
        # A gram with a space at its end would lose it as a text: only those that stay themselves are compared.
        alone = sorted(gram for gram in grams(text) if normalise(gram) == gram)
        if len(alone) == len(grams(text)):
            assert np.array_equal(bin_minima(alone).min(axis=0), found)


def test_every_bin_holds_hashes_of_its_own_range() -> None:
    minima = bin_minima(["".join(chr(0x0E00 + (i * i) % 97) for i in range(3000))], num_hashes=64)
    full = np.flatnonzero(minima[0] != EMPTY)
    assert len(full) > 50
    assert (minima[0, full] >> 26 == full).all()


def test_short_texts_are_alike_only_if_they_are_the_same() -> None:
    rows = sketches(bin_minima(["", "  ", "ab", "AB ", "abc", "abcd", "abcde"]))
    alike = similarity(rows[:, None].repeat(7, 1).reshape(49, -1), np.tile(rows, (7, 1))).reshape(7, 7)
    same = np.eye(7)
    same[0, 1] = same[1, 0] = same[2, 3] = same[3, 2] = 1
    assert np.array_equal(alike, same)


def edited(text: str, share: float, random: np.random.Generator) -> str:
    letters = list(text)
    for i in random.choice(len(letters), int(share * len(letters)), replace=False):
        letters[i] = chr(0x1000 + int(random.integers(0, 80)))
    return "".join(letters)


@pytest.mark.parametrize("length", [60, 300, 3000])
def test_the_estimate_is_the_jaccard_similarity_of_the_gram_sets(length: int) -> None:
    random = np.random.default_rng(0)
    pairs = []
    for i in range(160):
        text = "".join(chr(0x0E01 + c) for c in random.integers(0, 46, length))
        pairs.append((text, edited(text, (i % 20) / 100, random)))
    exact = np.array([jaccard(a, b) for a, b in pairs])
    rows = sketches(bin_minima([text for pair in pairs for text in pair]))
    error = similarity(rows[0::2], rows[1::2]) - exact
    assert abs(error.mean()) < 0.01
    assert error.std() < (0.03 if length == 60 else 0.045)
    assert np.ptp(exact) > 0.5


def test_empty_bins_borrow_from_full_ones_and_full_ones_stay() -> None:
    minima = bin_minima(["hello world, hello sea", "abcde", "", "lorem ipsum dolor sit amet" * 20])
    dense = densified(minima)
    full = minima != EMPTY
    assert (dense != EMPTY).all()
    assert np.array_equal(dense[full], minima[full])
    for row, original in zip(dense, minima, strict=True):
        assert set(row.tolist()) == set(original[original != EMPTY].tolist())


def test_banding_meets_as_often_as_the_curve_says() -> None:
    """Texts of many n-grams and of few: the share of pairs with a common band key follows 1 - (1 - s^r)^b."""
    random = np.random.default_rng(1)
    for length in (100, 1500):
        given_texts = []
        for _ in range(200):
            text = "".join(chr(0x0E01 + c) for c in random.integers(0, 46, length))
            given_texts += [text, edited(text, 0.04, random)]
        exact = np.array([jaccard(a, b) for a, b in zip(given_texts[0::2], given_texts[1::2], strict=True)])
        keys = band_keys(bin_minima(given_texts), 8, 16)
        met = (keys[:, 0::2] == keys[:, 1::2]).any(axis=0).mean()
        assert met == pytest.approx((1 - (1 - exact**16) ** 8).mean(), abs=0.1)


@pytest.mark.parametrize(("threshold", "expected"), [(0.8, (16, 8)), (0.9, (9, 14)), (0.5, (26, 3))])
def test_bands_and_rows(threshold: float, expected: tuple[int, int]) -> None:
    assert bands_and_rows(threshold, 128) == expected


def test_equal_weights_are_datasketchs_choice() -> None:
    # datasketch 2.0.0: MinHashLSH(threshold=t, num_perm=128) has (b, r) of these.
    assert bands_and_rows(0.8, 128, missed_weight=0.5) == (9, 13)
    assert bands_and_rows(0.5, 128, missed_weight=0.5) == (25, 5)


def test_signatures_are_the_recorded_ones() -> None:
    # Recorded once: a change here would change what is dropped as a near duplicate.
    minima = bin_minima(["the quick brown fox", "ภาษาไทย"], num_hashes=16)
    assert minima.min(axis=1).tolist() == [602473401, 1111704480]
    assert band_keys(minima, 2, 8).tolist() == [[4162334706, 2820898693], [1183750660, 2224185731]]
