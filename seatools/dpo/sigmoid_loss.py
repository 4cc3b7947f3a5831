"""The DPO loss (Rafailov et al. 2023, eq. 7): -log sigmoid(beta * margin of policy over reference)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def reward_margins(
    chosen: torch.Tensor, rejected: torch.Tensor, ref_chosen: torch.Tensor, ref_rejected: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Implicit rewards [n] of chosen and rejected answers: beta * (log pi - log pi_ref)."""
    return beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)


def sigmoid_losses(chosen_rewards: torch.Tensor, rejected_rewards: torch.Tensor) -> torch.Tensor:
    """Loss [n] of each pair from its implicit rewards."""
    import torch.nn.functional as F

    return -F.logsigmoid(chosen_rewards - rejected_rewards)
