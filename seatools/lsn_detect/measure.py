"""The pass over each language: batches through the model with the collectors on, sums out, over all ranks.

Languages share nothing but the model, so the statistics of one never depend on the text of another, and one more is
one more pass. With an early stop they are read in rounds, one round of each language after the other, and after each
round somebody is asked how well the halves agree; without it each is read to its end. Every rank reads and tokenises
all of the text (a millionth of the work) and runs its own contexts, so ranks agree on the rounds without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seatools.engine.layer_proof import prove_layers
from seatools.engine.loss import target_log_probs
from seatools.engine.neuron_layers import Layers
from seatools.engine.world import SINGLE, World
from seatools.lsn_detect.corpora import Context, CorpusCounts, PackedBatch, packed_batches
from seatools.lsn_detect.ffn_statistics import FFNStatistics
from seatools.lsn_detect.map_statistics import MapStatistics
from seatools.lsn_detect.options import SEQ_LEN, StatsOptions
from seatools.lsn_detect.statistics import Collector, observe
from seatools.lsn_detect.table import join_of
from seatools.lsn_detect.taylor import TaylorScores, observe_with_loss
from seatools.lsn_detect.value_statistics import ValueStatistics
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Values = dict[tuple[int, str], dict[str, np.ndarray]]  # (layer, part) -> name -> array
Windows = Callable[[str, CorpusCounts], Iterator[Sequence[Context]]]  # (lang, counts to fill) -> what this rank reads
Agreement = Callable[[Mapping[str, "Measured"]], Mapping[str, float]]  # of the two halves' choices, a language

WORSE_THAN_CHANCE = 0.5  # nats a token above the uniform guess: what a tokenizer of another model gives


@dataclass
class Measured:
    """The sums of one language over all ranks: tokens and contexts of each half, and the arrays of every place."""

    tokens: np.ndarray  # int64 [2]
    docs: np.ndarray  # int64 [2]
    values: Values


@dataclass
class LanguagePass:
    """One language under way."""

    counts: CorpusCounts
    windows: Iterator[Sequence[Context]]
    collectors: list[Collector]
    taylor: TaylorScores | None
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    docs: list[int] = field(default_factory=lambda: [0, 0])
    ended: bool = False

    def run(self, model: PreTrainedModel, batches: list[PackedBatch], advance: Callable[[int], None] | None) -> None:
        """These batches through the model, into the sums."""
        if self.collectors:
            observe(model, self.collectors, batches, advance)
        if self.taylor is not None:
            observe_with_loss(model, [self.taylor], batches, None if self.collectors else advance)
        for batch in batches:
            for span in batch.spans:
                self.tokens[span.half] += span.stop - span.start
                self.docs[span.half] += 1

    def measured(self, world: World) -> Measured:
        """The sums so far, over the ranks."""
        values: Values = {}
        sources: list[Collector] = [*self.collectors, *([self.taylor] if self.taylor is not None else [])]
        for source in sources:
            for place, arrays in source.arrays().items():
                values.setdefault(place, {}).update(arrays)
        return Measured(
            world.sum(torch.tensor(self.tokens)).numpy(), world.sum(torch.tensor(self.docs)).numpy(),
            {place: {name: reduced(name, array, world) for name, array in arrays.items()}
             for place, arrays in values.items()},
        )  # fmt: skip


def reduced(name: str, array: np.ndarray, world: World) -> np.ndarray:
    """`array` over the ranks, by what its name says; itself where there is one rank."""
    if world.size == 1:
        return array
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    join = join_of(name)
    over_ranks = world.least if join is np.minimum else world.most if join is np.maximum else world.sum
    return over_ranks(tensor).numpy()


def measure(
    model: PreTrainedModel,
    layers: Layers,
    langs: Sequence[str],
    windows: Windows,
    options: StatsOptions,
    *,
    parts: tuple[str, ...],
    pad_id: int = 0,
    world: World = SINGLE,
    agreement: Agreement | None = None,
    advance: Callable[[int], None] | None = None,
    messages: Messages | None = None,
) -> tuple[dict[str, Measured], dict[str, CorpusCounts]]:
    """What `options` asks for of every language, and what was read of it.

    `parts`: those of `options` that the model has. With `options.stop_jaccard` reading ends once `agreement` gives
    that much for every language; `messages` are told of each look. SeaError for a model that cannot be measured.
    """
    prove_layers(model, layers, parts)
    # One language at a time where nobody compares them on the way: so the sums of one are on the device, not of all.
    rounds = [list(langs)] if options.stop_jaccard is not None else [[lang] for lang in langs]
    found: dict[str, Measured] = {}
    read: dict[str, CorpusCounts] = {}
    for together in rounds:
        passes = _begin(model, layers, together, windows, parts, options)
        _read(model, passes, options, pad_id, world, agreement, advance, messages, warned=bool(read))
        found |= {lang: one.measured(world) for lang, one in passes.items()}
        read |= {lang: one.counts for lang, one in passes.items()}
    return found, read


def _begin(
    model: PreTrainedModel, layers: Layers, langs: Sequence[str], windows: Windows, parts: tuple[str, ...],
    options: StatsOptions,
) -> dict[str, LanguagePass]:  # fmt: skip
    passes = {}
    for lang in langs:
        counts = CorpusCounts()
        taylor = TaylorScores(model, layers, parts=parts) if options.taylor else None
        passes[lang] = LanguagePass(counts, windows(lang, counts), collectors(model, layers, parts, options), taylor)
    return passes


def _read(
    model: PreTrainedModel, passes: Mapping[str, LanguagePass], options: StatsOptions, pad_id: int, world: World,
    agreement: Agreement | None, advance: Callable[[int], None] | None, messages: Messages | None, *, warned: bool,
) -> None:  # fmt: skip
    """Read the texts of `passes` to their ends, or until the halves agree."""
    round_end = options.check_every if options.stop_jaccard is not None else math.inf
    while not all(one.ended for one in passes.values()):
        for one in passes.values():
            while not one.ended and one.counts.num_tokens < round_end:
                window = next(one.windows, None)
                if window is None:
                    one.ended = True
                    break
                batches = list(
                    packed_batches(
                        window, seq_len=options.seq_len or SEQ_LEN, batch_tokens=options.batch_tokens, pad_id=pad_id,
                        device=model.device,
                    )
                )  # fmt: skip
                if batches and not warned:
                    warned = True
                    warn_of_chance(model, batches[0], messages)
                one.run(model, batches, advance)
        if options.stop_jaccard is not None and not all(one.ended for one in passes.values()):
            assert agreement is not None
            agreed = agreement({lang: one.measured(world) for lang, one in passes.items()})
            if messages is not None:
                told = ", ".join(f"{lang} {value:.2f}" for lang, value in agreed.items())
                messages.info(f"after {int(round_end):,} tokens a language the halves agree: {told}")
            if all(value >= options.stop_jaccard for value in agreed.values()):
                break
            round_end += options.check_every


def collectors(
    model: PreTrainedModel, layers: Layers, parts: tuple[str, ...], options: StatsOptions
) -> list[Collector]:
    """The collectors of `parts`, fresh."""
    grid: dict[str, Any] = {"top_k": options.top_k, "thresholds": options.thresholds}
    made: list[Collector] = []
    if "ffn" in parts or "shared" in parts:
        made.append(FFNStatistics(layers, parts, exact_norm=options.exact_norm, **grid))
    if "v" in parts or "o" in parts:
        made.append(ValueStatistics(layers, parts, exact_norm=options.exact_norm, **grid))
    if "q" in parts or "k" in parts:
        made.append(MapStatistics(model, layers, parts=parts, is_exact=options.qk == "exact", **grid))
    return made


def warn_of_chance(model: PreTrainedModel, batch: PackedBatch, messages: Messages | None) -> None:
    """Tell of a text that the model predicts worse than a uniform guess would: the ids are not its own."""
    with torch.inference_mode():
        nats = -float(target_log_probs(model, batch.batch).values.double().mean())
    embeddings: Any = model.get_input_embeddings()
    chance = math.log(embeddings.weight.shape[0])
    if messages is not None and nats > chance + WORSE_THAN_CHANCE:
        messages.warn(
            f"the model predicts its first text worse than chance ({nats:.1f} nats a token, chance is {chance:.1f}): "
            "is this tokenizer the model's own?"
        )
