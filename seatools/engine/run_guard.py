"""What the ranks of a run agree on beside its steps: that the model is sound, and that its steps are not lost."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seatools.engine.guards import check_model
from seatools.engine.optimise import MasterAdamW
from seatools.engine.trainee import Trainee
from seatools.engine.training_options import TrainingOptions
from seatools.engine.world import World
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_guard(
    model: PreTrainedModel, vocab_size: int, *, exempt: Collection[int], world: World, out: Path
) -> Callable[[], None]:
    """`check_model` as a call that raises on all ranks or none, with the words of the rank that found the fault."""

    def guard() -> None:
        fault = None
        try:
            check_model(model, vocab_size, exempt=exempt)
        except SeaError as error:
            fault = error.what, error.fix
        said = world.first(fault)
        if said is not None:
            raise SeaError(said[0], where=str(out) if world.size > 1 else None, fix=said[1])

    return guard


class LostSteps:
    """Warns, once, of the share of weights that a step in low precision without masters left unchanged.

    Measured at the first step of full rate, `warmup_steps` + 1; `before(step)` is called before each step.
    """

    def __init__(
        self,
        trainee: Trainee,
        optimizer: MasterAdamW,
        options: TrainingOptions,
        *,
        total: int,
        world: World,
        messages: Messages,
    ) -> None:
        self.optimizer, self.world, self.messages = optimizer, world, messages
        loses = not options.masters and not trainee.shared and trainee.dtype != torch.float32
        self.measured_step = min(total, options.loop(total).warmup_steps + 1) if loses else None
        self._warned = False

    def before(self, step: int) -> None:
        """Measure in this step, or warn of what was measured in an earlier one."""
        if self.measured_step == step:
            self.optimizer.measure_unchanged()
        elif self.measured_step is not None and step > self.measured_step:
            self.warn()

    def warn(self) -> None:
        """Say it, if it was measured and not said; also after the last step."""
        share = self.optimizer.unchanged_share
        if share is None or self._warned:
            return
        self._warned = True
        if self.world.is_main:
            self.messages.warn(
                f"step {self.measured_step} left {100 * share:.1f} % of the trained weights as they were, to the bit: "
                "without fp32 masters small steps are lost (leave out --no-masters, or --dtype fp32)"
            )


def check_changed(optimizer: MasterAdamW, before: float, steps: int, world: World) -> None:
    """SeaError where `steps` steps (0: no fault) left the trained weights' fingerprint as `before` on all ranks."""
    if steps and not world.any(optimizer.fingerprint() != before):
        raise SeaError(
            f"{steps} steps changed no weight", fix="a higher --lr, or --dtype fp32: the step rounds to nothing"
        )
