"""What one step of preference training computes: its pairs, their loss and gradients, and what is logged of them.

The loss of a step is the mean over its pairs, plus the mean NLL over the tokens of its chosen answers for the SFT term,
however the step is cut into micro-batches and ranks: every process knows all pairs and so divides by the numbers of the
whole step. Only the trained model is in memory; the reference is two numbers a pair. Figures stay on the device until
the step is over.

`kl` is the plain estimate of KL(reference || policy) in nats a token: the mean over the answers of
(log pi_ref - log pi) / tokens, for free as both are known. It is one where the reference has sampled the answers
(self-preference); for the answers of others it only tells how far the policy has moved on them. It may be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from seatools.dpo.losses import PairLogProbs, check_loss, pair_losses, sft_losses
from seatools.dpo.passes import passes
from seatools.engine.answer_log_probs import AnswerPair, answer_log_probs, num_computed
from seatools.engine.flops import mean_context
from seatools.engine.loss import LogProbs
from seatools.engine.optimise import MasterAdamW
from seatools.engine.row_order import rows_of_step
from seatools.engine.rows import Batch
from seatools.engine.shard import LossModule, add_gradients
from seatools.engine.world import World
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.dpo.pairs import Pair

_FIGURES = ("loss", "reward_chosen", "reward_rejected", "accuracy", "logp_chosen", "logp_rejected", "kl")
_MARGIN, _ACCURACY = len(_FIGURES), _FIGURES.index("accuracy")


class StepOptions(Protocol):
    """What a step reads of the options of `sea dpo`."""

    @property
    def beta(self) -> float: ...
    @property
    def loss(self) -> str: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def sft_weight(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def micro_batch(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def share_prompt(self) -> bool: ...


class PairGradients:
    """`gradients(step)` leaves the gradients of a step with the optimiser and returns its row of metrics.

    `reference`: "chosen" and "rejected", float [pairs], the log-probabilities under the reference, in the order of
    `pairs`. `share_prompt` of the options is taken as it is: ask `can_share_prompts` before.
    """

    def __init__(
        self,
        root: LossModule,
        optimizer: MasterAdamW,
        pairs: Sequence[Pair],
        reference: dict[str, np.ndarray],
        options: StepOptions,
        *,
        pad_id: int,
        world: World,
        messages: Messages,
    ) -> None:
        check_loss(
            options.loss, beta=options.beta, label_smoothing=options.label_smoothing, sft_weight=options.sft_weight
        )
        self.root, self.optimizer, self.pairs, self.options = root, optimizer, pairs, options
        self.world, self.messages, self.pad_id = world, messages, pad_id
        self.device = root.model.device if world.device is None else world.device
        both = np.stack([reference["chosen"], reference["rejected"]]).astype(np.float32)
        self.reference = torch.from_numpy(both).to(self.device)
        self.batch_size = min(options.batch_size, len(pairs))
        self.adds_in_place = root.add_in_place()

    def row_numbers(self, step: int) -> list[int]:
        """The numbers of the pairs that make up a step, over all ranks."""
        return rows_of_step(step, batch_size=self.batch_size, num_rows=len(self.pairs), seed=self.options.seed)

    def __call__(self, step: int) -> dict[str, Any]:
        options, world = self.options, self.world
        numbers = self.row_numbers(step)
        documents = {number: self._documents(number) for number in numbers}
        sizes = {n: num_computed(pair, share_prompt=options.share_prompt) for n, pair in documents.items()}
        cut = passes(
            numbers, sizes, micro_batch=options.micro_batch, on_cpu=self.device.type == "cpu", rank=world.rank,
            ranks=world.size,
        )  # fmt: skip
        sft_tokens = sum(self.pairs[number].chosen.num_targets for number in numbers)
        langs = sorted({self.pairs[number].lang for number in numbers})
        figures = torch.zeros(len(langs), _MARGIN + 1, dtype=torch.float64, device=self.device)
        if self.adds_in_place:
            self.root.begin()
        for part in cut:
            # Without a pair it is another rank's turn: the same collective calls, nothing learned.
            found = answer_log_probs(
                self.root.model, [documents[number] for number in part], self.pad_id,
                share_prompt=options.share_prompt, log_probs=self._log_probs,
            )  # fmt: skip
            policy = PairLogProbs(*found)
            ref_chosen, ref_rejected = self.reference[:, part]
            losses, good, bad = pair_losses(
                options.loss, policy, ref_chosen, ref_rejected, beta=options.beta,
                label_smoothing=options.label_smoothing,
            )  # fmt: skip
            terms = losses / len(numbers)
            if options.sft_weight:
                terms = terms + options.sft_weight * sft_losses(policy, sft_tokens)
            terms.sum().backward()
            with torch.no_grad():
                moved = (ref_chosen - policy.chosen) / policy.chosen_tokens
                moved = (moved + (ref_rejected - policy.rejected) / policy.rejected_tokens) / 2
                of_pairs = (
                    terms * len(numbers), good, bad, (good > bad).float(), policy.chosen, policy.rejected, moved,
                    good - bad,
                )  # fmt: skip
                owners = torch.tensor([langs.index(self.pairs[number].lang) for number in part], dtype=torch.int64)
                figures.index_add_(0, owners.to(self.device), torch.stack(of_pairs, 1).double())
        add_gradients(self.optimizer, world)
        sums = world.sum(figures).cpu().numpy()
        means = sums.sum(0) / len(numbers)
        counts = [sum(self.pairs[number].lang == lang for number in numbers) for lang in langs]
        lengths = [len(doc[0]) for number in numbers for doc in documents[number][:2]]
        return {
            **{name: float(value) for name, value in zip(_FIGURES, means, strict=False)},
            "reward_margin": float(means[_MARGIN]),
            "by_lang": {
                lang: {"margin": float(row[_MARGIN] / n), "accuracy": float(row[_ACCURACY] / n), "n": n}
                for lang, row, n in zip(langs, sums, counts, strict=True)
            },
            "tokens": sum(sizes[number] for number in numbers),
            "targets": sft_tokens + sum(self.pairs[number].rejected.num_targets for number in numbers),
            "context": round(mean_context(lengths), 1),
            "epoch": round(step * self.batch_size / len(self.pairs), 4),
            "rows": numbers,
        }

    def _documents(self, number: int) -> AnswerPair:
        pair = self.pairs[number]
        return AnswerPair(pair.chosen.document, pair.rejected.document, pair.shared)

    def _log_probs(self, model: Any, batch: Batch) -> LogProbs:
        return self.root.target_log_probs(batch, in_place=self.adds_in_place)
