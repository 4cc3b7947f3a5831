"""The options of a mix, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seatools.mix.fair_queue import OnExhaust
from seatools.mix.keyed_order import Shuffle
from seatools.mix.phases import Phase, check_phases
from seatools.mix.source_index import Unit
from seatools.streams.errors import UsageError
from seatools.streams.source_specs import SourceSpec
from seatools.text.cleaning.options import CleaningOptions

MAX_TEMPERATURE = 1e6


@dataclass(frozen=True, kw_only=True)
class MixOptions:
    """What decides the bytes of a mix, with its inputs and tokenizer."""

    sources: tuple[SourceSpec, ...]
    """In the order given, which settles ties and the source ids of packed data."""
    unit: Unit = "tokens"
    """What the weights and the budget count."""
    temperature: float | None = None
    """Weights are n_i^(1/T), n_i the units of source i; instead of weights."""
    unimax: bool = False
    """Equal shares of the budget, as far as the epochs of the sources reach; instead of weights."""
    phases: tuple[Phase, ...] = ()
    """Stretches of the budget with weights of their own; none: one with those of the sources."""
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
    cleaning: CleaningOptions | None = None
    """How documents are repaired and filtered before they are counted; None: not at all."""
    join_turns: int | None = None
    """Single-turn chats are joined into conversations of up to so many exchanges."""
    balance: Literal["lang"] | None = None
    """Each source is split by this field of its records into parts of equal weight."""
    per_group_cap: int | None = None
    """Documents of such a part at most."""
    allow_unk: bool = False
    """Mix a source of which the tokenizer makes mostly <unk> too."""
    pack: int | None = None
    """Tokens in a packed row, or None for JSONL."""
    pack_window: int = 10_000
    """Documents that are packed (and whose rows are shuffled) together."""

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise UsageError("the budget must be at least 1")
        if self.max_epochs < 1:
            raise UsageError("--max-epochs must be at least 1")
        if self.on_exhaust == "error" and self.budget is None and not self.phases:
            raise UsageError("--on-exhaust error needs a budget to fall short of", fix="--budget 2M")
        if self.join_turns is not None and self.join_turns < 2:
            raise UsageError("--join-turns must be at least 2 exchanges", fix="--join-turns 4")
        if self.per_group_cap is not None and self.balance is None:
            raise UsageError("--per-group-cap needs groups", fix="--balance lang")
        if self.pack is not None and self.pack < 2:
            raise UsageError("--pack must be at least 2 tokens", fix="--pack 4096")
        if self.pack_window < 1:
            raise UsageError("--pack-window must be at least 1 document")
        check_phases(self.phases, self.budget)
        self._check_weights()
        self._check_phase_sources()

    def _check_weights(self) -> None:
        """Weights come from one place, and there is something to share."""
        given = [spec.name for spec in self.sources if spec.weight is not None]
        named = "--unimax" if self.unimax else "--temperature"
        if self.temperature is not None and self.unimax:
            raise UsageError("--temperature and --unimax both make the weights", fix="give one of the two")
        if (self.temperature is not None or self.unimax) and given:
            fix = f"leave out the weights (a cap alone is {given[0]}=GLOB:@4), or {named}"
            raise UsageError(f"{named} makes the weights, and source {given[0]} has one of its own", fix=fix)
        if self.temperature is not None and not 0.1 <= self.temperature <= MAX_TEMPERATURE:
            raise UsageError(f"--temperature must be between 0.1 and {MAX_TEMPERATURE:g}", fix="--temperature 3.3")
        if self.unimax and self.phases:
            raise UsageError(
                "--unimax shares one budget, and the phases have weights of their own", fix="one of the two"
            )
        if self.unimax and self.budget is None:
            raise UsageError("--unimax needs a budget to share", fix="--budget 2M")
        if not self.phases and self.sources and all(spec.weight == 0 for spec in self.sources):
            raise UsageError("all weights are 0", fix="give one source a weight greater than 0")
        for spec in self.sources:
            if spec.weight == 0 and not any(phase.weights.get(spec.name) for phase in self.phases):
                raise UsageError(f"source {spec.name} has weight 0 all along", fix="leave it out, or give it a weight")

    def _check_phase_sources(self) -> None:
        names = {spec.name for spec in self.sources}
        for phase in self.phases:
            strange = next((name for name in [*phase.weights, *phase.max_epochs] if name and name not in names), None)
            if strange is not None:
                what = f"phase {phase.name} names source {strange}, which the mix does not have"
                raise UsageError(what, fix=f"one of {', '.join(sorted(names))}")
            if not any(phase.weights.get(spec.name, spec.weight) != 0 for spec in self.sources):
                fix = "give one source a weight greater than 0"
                raise UsageError(f"phase {phase.name}: all weights are 0", fix=fix)
            unnamed = sorted(names - set(phase.weights))
            if self.temperature is not None and phase.weights and unnamed:
                fix = "weights for all sources of a phase, or for none"
                raise UsageError(f"phase {phase.name} has weights, but not for {unnamed[0]}", fix=fix)
            for spec in self.sources:
                if spec.glob == "-" and phase.max_epochs.get(spec.name, 1) > 1:
                    raise UsageError(f"phase {phase.name}: source {spec.name}: stdin gives one epoch only")

    def epochs_of(self, spec: SourceSpec, phase: Phase | None = None) -> int:
        """How often a source may have been read (at the end of a phase): stdin once, others by the cap of the phase,
        their own, or the common one, whichever is the first that is given."""
        if spec.glob == "-":
            return 1
        caps = {} if phase is None else phase.max_epochs
        return caps.get(spec.family) or caps.get("") or spec.max_epochs or self.max_epochs
