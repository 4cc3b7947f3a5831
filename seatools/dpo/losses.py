"""The losses of preference pairs, from log-probabilities of whole answers under the policy and its reference.

With r = log pi(y|x) - log pi_ref(y|x) of an answer and d = r_chosen - r_rejected, the loss of a pair is
  sigmoid       -(1 - e) log s(b d) - e log s(-b d); e = 0 is DPO (Rafailov et al. 2023, eq. 7), e > 0 conservative DPO
                (Mitchell, "A note on DPO with noisy preferences", 2023)
  sigmoid_norm  the same of r / tokens (Lambert et al. 2024, Tulu 3, eq. 6)
  ipo           (d of r / tokens - 1 / (2 b))^2 (Azar et al. 2023, eq. 17; a mean over tokens, as TRL has it)
  hinge         max(0, 1 - b d) (Zhao et al. 2023, SLiC-HF, eq. 1, on rewards)
  robust        (-(1 - e) log s(b d) + e log s(-b d)) / (1 - 2 e) (Chowdhury et al. 2024, rDPO, eq. 6 and 8)
  apo_zero      1 - s(b r_chosen) + s(b r_rejected) (D'Oosterlinck et al. 2024, eq. 7)
  apo_down      s(b r_chosen) + 1 - s(b d) (the same, eq. 8)
for b = beta, e = label_smoothing. Names and values of TRL 1.16 (trainer/dpo_trainer.py), which smooths `robust` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seatools.streams.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "apo_zero", "apo_down")
SMOOTHED = ("sigmoid", "sigmoid_norm", "robust")
"""The losses that label smoothing has a meaning for."""


@dataclass(frozen=True)
class PairLogProbs:
    """log p(answer | prompt) of n pairs, in nats, summed over the trained tokens, and how many tokens these are."""

    chosen: Tensor  # [n] float32, differentiable
    rejected: Tensor  # [n] float32, differentiable
    chosen_tokens: Tensor  # [n] float32 or int64, 1 or more
    rejected_tokens: Tensor  # [n]


def check_loss(kind: str, *, beta: float, label_smoothing: float = 0.0, sft_weight: float = 0.0) -> None:
    """UsageError for a loss that is not known, or for numbers that have no meaning for it. Imports no torch."""
    if kind not in LOSSES:
        raise UsageError(f"unknown loss {kind!r}", fix=f"use one of {', '.join(LOSSES)}")
    if not 0 < beta < float("inf"):
        raise UsageError(f"--beta {beta} is not positive")
    if not 0 <= label_smoothing < 0.5:
        raise UsageError(
            f"--label-smoothing {label_smoothing}", fix="0 or more and below 0.5: the share of pairs labelled wrongly"
        )
    if label_smoothing and kind not in SMOOTHED:
        raise UsageError(f"--label-smoothing has no meaning for the loss {kind}", fix=f"use {' or '.join(SMOOTHED)}")
    if not 0 <= sft_weight < float("inf"):
        raise UsageError(f"the weight of the SFT term, {sft_weight}, is not 0 or more")


def pair_losses(
    kind: str,
    policy: PairLogProbs,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, reward of the chosen, reward of the rejected answer), each [n] float32, of n pairs.

    `ref_chosen`, `ref_rejected` [n]: log-probabilities of the answers under the reference. The rewards are DPO's
    implicit ones, beta (log pi - log pi_ref), whatever the loss. Errors are those of `check_loss`.
    """
    import torch
    import torch.nn.functional as F

    check_loss(kind, beta=beta, label_smoothing=label_smoothing)
    good, bad = policy.chosen - ref_chosen, policy.rejected - ref_rejected
    delta = good - bad
    if kind in ("sigmoid_norm", "ipo"):
        delta = good / policy.chosen_tokens - bad / policy.rejected_tokens
    if kind in ("sigmoid", "sigmoid_norm"):
        losses = -F.logsigmoid(beta * delta)
        if label_smoothing:
            losses = (1 - label_smoothing) * losses - label_smoothing * F.logsigmoid(-beta * delta)
    elif kind == "ipo":
        losses = (delta - 1 / (2 * beta)).square()
    elif kind == "hinge":
        losses = torch.relu(1 - beta * delta)
    elif kind == "robust":
        clean, flipped = F.logsigmoid(beta * delta), F.logsigmoid(-beta * delta)
        losses = (label_smoothing * flipped - (1 - label_smoothing) * clean) / (1 - 2 * label_smoothing)
    elif kind == "apo_zero":
        losses = torch.sigmoid(-beta * good) + torch.sigmoid(beta * bad)  # 1 - s(x) = s(-x), without cancellation
    else:  # apo_down
        losses = torch.sigmoid(beta * good) + torch.sigmoid(-beta * delta)
    return losses, beta * good, beta * bad


def sft_losses(policy: PairLogProbs, total_tokens: float) -> Tensor:
    """The parts [n] of the SFT term: -log p(chosen) / `total_tokens`, to be summed over the pairs of a step.

    With the trained tokens of all chosen answers of the step as `total_tokens` the sum is the mean over tokens, which
    is TRL's `sft` loss of one batch, and stays so when the step is cut into micro-batches.
    """
    return -policy.chosen / total_tokens
