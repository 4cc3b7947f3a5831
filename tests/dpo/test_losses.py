"""The losses of pairs: TRL's own values and gradients, and what holds of them by definition."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_inputs import BETA, POLICY, SFT_WEIGHT, SMOOTHING, examples, figures_of, model_of
from hypothesis import given
from hypothesis import strategies as st

from seatools.dpo.losses import LOSSES, SMOOTHED, PairLogProbs, pair_losses, sft_losses
from seatools.engine import attention
from seatools.engine.answer_log_probs import AnswerPair, answer_log_probs
from seatools.streams.errors import UsageError

GOLDEN = json.loads((Path(__file__).parent / "data" / "trl_losses.json").read_text())  # by trl_golden.py


def test_the_golden_file_has_every_loss_that_trl_has_too() -> None:
    assert GOLDEN["versions"]["trl"].startswith("1.16.")
    assert set(GOLDEN["cases"]) == {*LOSSES, "sft"}


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_values_and_gradients_are_trls(case: str, share: bool) -> None:
    attention.register()
    golden, model = GOLDEN["cases"][case], model_of(POLICY)
    model.set_attn_implementation(attention.NAME)
    pairs = []
    for example in examples():
        prompt = example["prompt_ids"]
        chosen, rejected = (
            (prompt + example[key], [0] * len(prompt) + [1] * len(example[key]))
            for key in ("chosen_ids", "rejected_ids")
        )
        pairs.append(AnswerPair(chosen, rejected, len(prompt)))
    policy = PairLogProbs(*answer_log_probs(model, pairs, 0, share_prompt=share))
    reference = [torch.tensor(golden["reference"][key]) for key in ("chosen", "rejected")]
    losses, good, bad = pair_losses(
        "sigmoid" if case == "sft" else case, policy, *reference, beta=BETA,
        label_smoothing=SMOOTHING if case == "robust" else 0.0,
    )  # fmt: skip
    loss = losses.mean()
    if case == "sft":
        loss = loss + SFT_WEIGHT * sft_losses(policy, float(policy.chosen_tokens.sum())).sum()
    loss.backward()
    found = {
        "rewards/chosen": good, "rewards/rejected": bad, "rewards/accuracies": (good > bad).float(),
        "rewards/margins": good - bad, "logps/chosen": policy.chosen, "logps/rejected": policy.rejected,
    }  # fmt: skip
    assert float(loss.detach()) == pytest.approx(golden["loss"], rel=1e-5)
    for name, values in found.items():
        assert float(values.detach().mean()) == pytest.approx(golden["logged"][name], rel=1e-5, abs=1e-5), name
    gradients = figures_of({name: parameter.grad.numpy() for name, parameter in model.named_parameters()})
    assert gradients.keys() == golden["gradients"].keys()
    for name, figures in gradients.items():
        assert figures == pytest.approx(golden["gradients"][name], rel=1e-5, abs=1e-5), name


def of(good: float, bad: float, tokens: tuple[int, int] = (1, 1)) -> PairLogProbs:
    """Log-probabilities whose ratios to a reference of 0 are `good` and `bad`."""
    return PairLogProbs(*(torch.tensor([float(value)], dtype=torch.float64) for value in (good, bad, *tokens)))


def loss_of(kind: str, policy: PairLogProbs, **options: Any) -> float:
    zero = torch.zeros(1, dtype=torch.float64)
    return float(pair_losses(kind, policy, zero, zero, **({"beta": 0.5} | options))[0])


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


RATIOS = st.floats(-30, 30)
TOKENS = st.integers(1, 50)


@given(RATIOS, RATIOS, TOKENS, TOKENS, st.floats(0, 0.49))
def test_they_are_what_the_papers_write(good: float, bad: float, a: int, b: int, smoothing: float) -> None:
    policy, d, mean, e, beta = of(good, bad, (a, b)), good - bad, good / a - bad / b, smoothing, 0.5
    wanted = {
        "sigmoid": -(1 - e) * math.log(s(beta * d)) - e * math.log(s(-beta * d)),
        "sigmoid_norm": -(1 - e) * math.log(s(beta * mean)) - e * math.log(s(-beta * mean)),
        "robust": (-(1 - e) * math.log(s(beta * d)) + e * math.log(s(-beta * d))) / (1 - 2 * e),
        "ipo": (mean - 1 / (2 * beta)) ** 2,
        "hinge": max(0.0, 1 - beta * d),
        "apo_zero": 1 - s(beta * good) + s(beta * bad),
        "apo_down": s(beta * good) + 1 - s(beta * d),
    }
    for kind in LOSSES:
        smoothed = {"label_smoothing": e} if kind in SMOOTHED else {}
        assert loss_of(kind, policy, **smoothed) == pytest.approx(wanted[kind], rel=1e-9, abs=1e-12)


@given(RATIOS, RATIOS, st.floats(0.01, 0.49))
def test_smoothing_undoes_wrong_labels(good: float, bad: float, share: float) -> None:
    """rDPO is unbiased: over flipped labels it is the loss without flips (Chowdhury et al. 2024, lemma 3.1)."""
    right, flipped = (loss_of("robust", of(*pair), label_smoothing=share) for pair in ((good, bad), (bad, good)))
    assert (1 - share) * right + share * flipped == pytest.approx(loss_of("sigmoid", of(good, bad)), rel=1e-9)


@pytest.mark.parametrize("kind", LOSSES)
def test_huge_ratios_are_finite_and_still_have_gradients(kind: str) -> None:
    for good, bad in ((-2000.0, 2000.0), (2000.0, -2000.0)):
        values = [torch.tensor([x], requires_grad=True) for x in (good, bad)]
        loss, *_ = pair_losses(kind, PairLogProbs(*values, *torch.ones(2, 1)), *torch.zeros(2, 1), beta=0.1)
        loss.sum().backward()
        assert all(bool(x.isfinite().all()) for x in (loss, *(v.grad for v in values)))
        if good < bad and kind in ("sigmoid", "hinge"):
            assert values[0].grad is not None and float(values[0].grad) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("dpo", {}, "sigmoid, sigmoid_norm"),
        ("robust", {"label_smoothing": 0.5}, "below 0.5"),
        ("sigmoid", {"label_smoothing": -0.1}, "0 or more"),
        ("ipo", {"label_smoothing": 0.1}, "no meaning"),
        ("sigmoid", {"beta": 0}, "positive"),
        ("sigmoid", {"beta": math.nan}, "positive"),
    ],
)
def test_what_has_no_meaning_is_refused(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        loss_of(kind, of(1, 0), **options)
