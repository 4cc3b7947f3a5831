"""What is said of a judge's consistency, and when it fails."""

from __future__ import annotations

import math

import pytest

from seatools.judge.report import Consistency, require_consistency, wilson
from seatools.judge.verdict import Verdict
from seatools.streams.errors import CheckFailed

GOOD, BAD = Verdict(1, -1), Verdict(-1, 1)
FIRST, SECOND, TIE = Verdict(2, 1), Verdict(-2, -1), Verdict(0, 1)


def consistency(*verdicts: Verdict, lang: str = "th") -> Consistency:
    return Consistency(lang, len(verdicts), sum(one.agrees for one in verdicts), verdicts)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(successes, trials, low, high):
    """81 of 263: Newcombe 1998, table I, method 3."""
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_the_figures_of_a_judge():
    record = consistency(GOOD, GOOD, BAD, FIRST, TIE).record()
    assert (record["pairs"], record["kept"], record["ties"], record["no_verdict"]) == (5, 3, 1, 0)
    assert record["agreement"] == 0.6
    assert record["first_label"] == 0.6  # 2 of 6 agreeing readings and 1 more, both of FIRST, one of the tie: 6 of 10
    assert Consistency("th", 2, 0, ()).record()["agreement"] is None


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([GOOD, BAD] * 20, None),
        ([GOOD] * 3, "too few to tell"),
        ([GOOD, FIRST, BAD, SECOND] * 10, "agreement 50 % does not clearly beat guessing"),
        ([GOOD] * 58 + [FIRST, SECOND] * 21, "agreement 58 % does not"),
        ([FIRST] * 8, "names the first label in 100 % of its readings"),
        ([SECOND] * 8, "names the second label in 100 % of its readings"),
    ],
)
def test_what_is_warned_of(verdicts, words):
    warning = consistency(*verdicts).warning()
    assert (warning is None) if words is None else words in str(warning)


def test_a_judge_without_a_verdict_is_said_to_have_none():
    silent = Consistency("th", 4, 0, ())
    assert "no verdict" in silent.sentence()
    assert silent.warning() is None
    assert math.isnan(silent.agreement)


def test_the_check_fails_for_each_poor_language_and_for_one_without_a_verdict():
    found = [consistency(GOOD, GOOD, lang="en"), consistency(GOOD, FIRST), Consistency("lo", 3, 0, ())]
    require_consistency(found, None)
    require_consistency(found[:1], 1.0)
    require_consistency(found[:2], 0.5)
    with pytest.raises(CheckFailed, match=r"0\.6: th 50 % of 2 pairs .*; lo no part of 0 pairs"):
        require_consistency(found, 0.6)
