"""The options of a mix, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from seatools.mix.fair_queue import OnExhaust
from seatools.mix.keyed_order import Shuffle
from seatools.mix.source_index import Unit
from seatools.mix.source_specs import SourceSpec
from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MixOptions:
    """What decides the bytes of a mix, with its inputs and tokenizer."""

    sources: tuple[SourceSpec, ...]
    """In the order given, which settles ties and the source ids of packed data."""
    unit: Unit = "tokens"
    """What the weights and the budget count."""
    budget: int | None = None
    """Units of all sources together; the document that reaches it is the last. None: until a source runs out."""
    max_epochs: int
    """How often a source without a cap of its own may be read."""
    on_exhaust: OnExhaust = "stop"
    """What happens when a source runs out before the budget is reached."""
    shuffle: Shuffle = "global"
    """The order inside a source: a permutation of all of it, new in every epoch, or that of its files."""
    seed: int = 0
    limit: int | None = None
    """Documents read of each source."""
    pack: int | None = None
    """Tokens in a packed row, or None for JSONL."""
    pack_window: int = 10_000
    """Documents that are packed (and whose rows are shuffled) together."""

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise UsageError("the budget must be at least 1")
        if self.max_epochs < 1:
            raise UsageError("--max-epochs must be at least 1")
        if self.on_exhaust == "error" and self.budget is None:
            raise UsageError("--on-exhaust error needs a budget to fall short of", fix="--budget 2M")
        if self.pack is not None and self.pack < 2:
            raise UsageError("--pack must be at least 2 tokens", fix="--pack 4096")
        if self.pack_window < 1:
            raise UsageError("--pack-window must be at least 1 document")

    def epochs_of(self, spec: SourceSpec) -> int:
        """How often a source may be read: stdin once, others by their own cap or the common one."""
        return 1 if spec.glob == "-" else spec.max_epochs or self.max_epochs
