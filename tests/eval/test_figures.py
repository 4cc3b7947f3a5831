"""Figures of sums, their standard errors and the bootstrap, against definitions written out."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest
import sacrebleu
from made_samples import chrf

from seatools.eval import figures
from seatools.eval.chrf import chrf_figure, chrf_values, sentence_counts
from seatools.eval.figures import class_row, exact_sums, positive_row, ratio_stderr
from seatools.eval.resampling import estimate, mean_over, paired_difference, resampled_sums


def plain_macro_f1(gold: list[int], found: list[int | None]) -> float:
    scores = []
    for label in {*gold, *(answer for answer in found if answer is not None)}:
        hits = sum(g == f == label for g, f in zip(gold, found, strict=True))
        misses = sum(g == label != f for g, f in zip(gold, found, strict=True))
        alarms = sum(f == label != g for g, f in zip(gold, found, strict=True))
        scores.append(2 * hits / (2 * hits + misses + alarms))
    return sum(scores) / len(scores)


def test_macro_f1_is_its_definition() -> None:
    rng = random.Random(3)
    for _ in range(20):
        gold = [rng.randrange(5) for _ in range(12)]
        found = [rng.choice([None, 0, 1, 2, 6]) for _ in range(12)]
        rows = np.array([class_row(g, f, 7) for g, f in zip(gold, found, strict=True)])
        assert figures.macro_f1().value(rows.sum(0)) == pytest.approx(plain_macro_f1(gold, found), abs=1e-15)


def test_f1_precision_and_recall_of_one_class() -> None:
    rows = np.array(
        [
            positive_row(*pair)
            for pair in [(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 9
        ]
    )
    sums = rows.sum(0)
    assert (float(figures.precision().value(sums)), float(figures.recall().value(sums))) == (3 / 5, 3 / 4)
    assert float(figures.f1().value(sums)) == pytest.approx(2 * 0.6 * 0.75 / 1.35, abs=1e-15)
    nothing = np.zeros(3)
    assert [float(make().value(nothing)) for make in (figures.f1, figures.precision, figures.recall)] == [0, 0, 0]


def test_closed_standard_errors() -> None:
    flags = np.array([1.0] * 13 + [0.0] * 7)
    assert ratio_stderr(flags, np.ones(20)) == pytest.approx(math.sqrt(0.65 * 0.35 / 19), abs=1e-15)
    values = np.array([3.0, 5, 10])
    assert ratio_stderr(values, np.ones(3)) == pytest.approx(np.std(values, ddof=1) / math.sqrt(3), abs=1e-15)
    bits, num_bytes = np.array([10.0, 30, 25]), np.array([10.0, 20, 30])  # 65/60; residuals by hand
    residuals = bits - 65 / 60 * num_bytes
    found = estimate(figures.ratio("bits_per_byte"), np.stack([bits, num_bytes], 1))
    assert found == (65 / 60, pytest.approx(math.sqrt(3 / 2 * (residuals**2).sum()) / 60, rel=1e-15))
    assert ratio_stderr(np.ones(1), np.ones(1)) is None


def test_the_bootstrap_agrees_with_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([rng.uniform(0, 9, 400), rng.uniform(1, 5, 400)], 1)
    drawn = figures.ratio("x").value(resampled_sums(rows, resamples=4000))
    assert np.std(drawn) == pytest.approx(ratio_stderr(rows[:, 0], rows[:, 1]), rel=0.05)


def test_draws_are_whole_resamples_and_repeat() -> None:
    sums = resampled_sums(np.eye(7), resamples=500, seed=4)
    assert (sums.sum(1) == 7).all() and (sums >= 0).all()
    assert sums.mean(0) == pytest.approx(np.ones(7), abs=0.15)
    assert (sums == resampled_sums(np.eye(7), resamples=500, seed=4)).all()
    assert (sums != resampled_sums(np.eye(7), resamples=500, seed=5)).any()
    assert sums[0].tolist() == [1, 1, 1, 0, 0, 2, 2]  # fixed for ever: results are compared to the byte


def test_sums_do_not_depend_on_order() -> None:
    rows = np.random.default_rng(0).lognormal(0, 9, (999, 2))
    assert (exact_sums(rows) == exact_sums(rows[::-1])).all()


def sentences(count: int) -> tuple[list[str], list[str]]:
    rng = random.Random(5)
    words = ["แมว", "สุนัข", "cat", "xin chào", "ไป", "តើ", "(hi)", "end."]
    ours = [" ".join(rng.choices(words, k=rng.randrange(0, 9))) for _ in range(count)]
    return ours, [" ".join(rng.choices(words, k=rng.randrange(1, 9))) for _ in range(count)]


@pytest.mark.parametrize("order", [0, 2])
def test_chrf_from_counts_is_sacrebleus_to_the_bit(order: int) -> None:
    ours, theirs = sentences(60)
    rows = np.array([sentence_counts(one, [two], order) for one, two in zip(ours, theirs, strict=True)])
    assert float(chrf_values(rows.sum(0))) == sacrebleu.corpus_chrf(ours, [theirs], word_order=order).score
    for one, two, row in zip(ours, theirs, rows, strict=True):
        assert float(chrf_values(row)) == sacrebleu.corpus_chrf([one], [[two]], word_order=order).score
    both = np.array([sentence_counts(one, [two, one[::-1]], order) for one, two in zip(ours, theirs, strict=True)])
    twice = sacrebleu.corpus_chrf(ours, [theirs, [one[::-1] for one in ours]], word_order=order).score
    assert float(chrf_values(both.sum(0))) == twice


def test_an_empty_corpus_scores_nothing() -> None:
    assert chrf(["", ""], ["ab", "cd"], word_order=2, seed=0)["value"] == 0


def test_a_thousand_resamples_of_a_thousand_sentences_take_less_than_a_second() -> None:
    rows = np.random.default_rng(0).integers(0, 200, (1000, 24)).astype(float)
    rows[:, 2::3] = np.minimum(rows[:, 0::3], rows[:, 1::3]) // 2
    start = time.perf_counter()
    estimate(chrf_figure("chrf++"), rows)
    assert time.perf_counter() - start < 1


def test_a_paired_difference_is_that_of_the_loop() -> None:
    rng = np.random.default_rng(2)
    a = np.stack([rng.uniform(0, 1, 50), np.ones(50)], 1)
    b = a + np.stack([rng.normal(0.02, 0.1, 50), np.zeros(50)], 1)
    found = paired_difference(figures.mean("x"), a, b, resamples=3000)
    loop = []
    for _ in range(3000):
        rows = rng.integers(0, 50, 50)
        loop.append(b[rows, 0].mean() - a[rows, 0].mean())
    assert found.difference == pytest.approx(b[:, 0].mean() - a[:, 0].mean(), abs=1e-12)
    assert found.stderr == pytest.approx(np.std(loop), rel=0.08)
    assert (found.low, found.high) == (
        pytest.approx(np.quantile(loop, 0.025), abs=0.005),
        pytest.approx(np.quantile(loop, 0.975), abs=0.005),
    )
    # two-sided normal p-value of the difference
    z = abs(found.difference) / float(np.std(b[:, 0] - a[:, 0], ddof=1) / math.sqrt(50))
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.03)


def test_equal_models_do_not_differ() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (40, 2)) + 1
    found = paired_difference(figures.ratio("x"), rows, rows)
    assert (found.difference, found.low, found.high, found.stderr, found.p) == (0, 0, 0, 0, 1)


def test_chrf_is_tested_as_sacrebleu_tests_it() -> None:
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.significance import PairedTest

    ours, theirs = sentences(80)
    better = [one if place % 4 else two for place, (one, two) in enumerate(zip(ours, theirs, strict=True))]
    test = PairedTest(
        [("a", ours), ("b", better)], {"chrf": CHRF()}, references=[theirs], test_type="bs", n_samples=1000
    )
    _, scores = test()
    p = scores["chrF2"][1].p_value
    rows = [
        np.array([sentence_counts(x, [y], 0) for x, y in zip(system, theirs, strict=True)], dtype=float)
        for system in (ours, better)
    ]
    found = paired_difference(chrf_figure("chrf"), *rows)
    assert found.a == pytest.approx(scores["chrF2"][0].score, abs=1e-9)
    assert found.b == pytest.approx(scores["chrF2"][1].score, abs=1e-9)
    assert found.p == pytest.approx(p, abs=0.02)


def test_one_item_has_no_error_bar() -> None:
    assert estimate(figures.f1(), np.array([[1.0, 0, 0]])) == (1, None)
    assert paired_difference(figures.mean("x"), np.ones((1, 2)), np.ones((1, 2)))[3:] == (None,) * 4
    with pytest.raises(ValueError, match="pairs"):
        paired_difference(figures.mean("x"), np.ones((2, 2)), np.ones((3, 2)))


def test_mean_over_languages() -> None:
    assert mean_over([0.2, 0.4], [0.03, 0.04]) == (pytest.approx(0.3), pytest.approx(0.025))
    assert mean_over([0.2, 0.4], [None, 0.04]).stderr is None
