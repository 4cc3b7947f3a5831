"""The share of each language with the lowest scores, counted exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import UsageError
from seatools.text.cleaning.score_thresholds import keep_by_quantile, shares_of

nan = float("nan")


def kept(scores: list[float], langs: str, quantiles: object) -> list[int]:
    names = sorted(set(langs))
    groups = np.array([names.index(lang) for lang in langs], np.uint32)
    keep = keep_by_quantile(np.array(scores, np.float32), groups, shares_of(names, quantiles))  # type: ignore[arg-type]
    assert keep.dtype == bool
    return np.flatnonzero(keep).tolist()


def test_each_language_keeps_its_own_lowest() -> None:
    scores = [1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0]
    assert kept(scores, "abababab", 0.5) == [0, 2, 5, 7]
    assert kept(scores, "abababab", {"a": 0.25, "b": 1.0}) == [0, 1, 3, 5, 7]


def test_nan_is_dropped_and_not_counted() -> None:
    assert kept([nan, 2.0, nan, 1.0], "aaaa", 0.5) == [3]
    assert kept([nan, nan], "ab", 1.0) == []


def test_equal_scores_go_by_document_number() -> None:
    assert kept([5.0, 1.0, 1.0, 1.0, 1.0], "aaaaa", 0.4) == [1, 2]


@pytest.mark.parametrize(
    ("n", "share", "count"), [(5, 0.5, 2), (7, 0.5, 4), (50, 0.29, 14), (150, 0.29, 44), (3, 0.1, 0)]
)
def test_the_count_is_rounded_half_to_even(n: int, share: float, count: int) -> None:
    # 0.29 * 50 is 14.499999999999998 in floats; as it is written it is 14.5. 0.29 * 150 is 43.5.
    assert len(kept(list(range(n)), "a" * n, share)) == count


@given(
    st.lists(st.tuples(st.floats(0, 9, width=32) | st.just(nan), st.sampled_from("abc")), max_size=40),
    st.floats(0, 1),
)
def test_none_that_is_dropped_scores_lower_than_one_that_is_kept(docs: list[tuple[float, str]], share: float) -> None:
    scores, langs = np.array([score for score, _ in docs], np.float32), [lang for _, lang in docs]
    groups = np.array(["abc".index(lang) for lang in langs], np.uint32)
    keep = keep_by_quantile(scores, groups, shares_of("abc", share))
    for lang in "abc":
        mine = np.array([one == lang for one in langs], bool) & ~np.isnan(scores)
        assert abs(keep[mine].sum() - share * mine.sum()) <= 0.5
        assert scores[mine & keep].max(initial=-1) <= scores[mine & ~keep].min(initial=10)
    assert not keep[np.isnan(scores)].any()


@pytest.mark.parametrize("quantiles", [1.5, -0.1, nan, {"a": 2.0, "b": 1.0}, {"a": 0.5}])
def test_senseless_shares_are_refused(quantiles: object) -> None:
    with pytest.raises(UsageError):
        kept([1.0, 2.0], "ab", quantiles)


def test_scores_and_languages_of_different_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="2 scores for 1"):
        keep_by_quantile(np.zeros(2, np.float32), np.zeros(1, np.uint32), [0.5])


def test_a_language_without_a_share_is_named_with_what_would_give_it_one() -> None:
    with pytest.raises(UsageError, match="documents in lo, und") as raised:
        shares_of(["th", "lo", "und"], {"th": 0.3})
    assert raised.value.fix is not None and "th=0.3,0.5" in raised.value.fix
