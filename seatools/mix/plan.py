"""What a mix will emit, decided to the document before a byte is written.

The schedule is run once over the counted units alone; emission replays it. So the figures of the plan are those of
the output, and `--on-exhaust error` fails before there is one. Memory: 2 bytes an emitted document (4 to 6 while the
schedule is put together), 4 a document of all sources, and for a moment 24 a document of one source, when its row is
summed up. Cost: that of the keyed order, for the most part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import chain

import numpy as np

from seatools.mix.fair_queue import Schedule, Sizes, fair_queue
from seatools.mix.keyed_order import nth_documents
from seatools.mix.options import MixOptions
from seatools.mix.phases import phase_ends
from seatools.mix.source_index import SourceIndex, Unit
from seatools.mix.weights import temperature_weights, unimax_part_weights
from seatools.mix.window_shares import WindowShares
from seatools.streams.errors import SeaError

_COLUMNS: tuple[Unit, ...] = ("bytes", "tokens", "loss-tokens")
COUNTED_EVERY = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PhaseShare:
    """What one source gives in one phase."""

    phase: str
    weight: float
    max_epochs: int
    emitted: int
    """In the unit."""
    emitted_docs: int
    epochs: float
    """From the start of the mix to the end of the phase."""
    share: float
    target_share: float
    exhausted: bool


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """One row of the plan. Tokens are None where no tokenizer counted them."""

    source: str
    files: int
    docs: int
    bytes: int
    tokens: int | None
    loss_tokens: int | None
    bytes_per_token: float | None
    rejected: int
    weight: float
    max_epochs: int
    unit: str
    emitted: int
    """In the unit."""
    emitted_docs: int
    emitted_bytes: int
    emitted_tokens: int | None
    emitted_loss_tokens: int | None
    epochs: float
    share: float
    """Of all emitted units."""
    target_share: float
    window_deviation: float | None
    """The greatest distance of the share from the target in a window of a million units (every 50,000 begins one); None
    in a shorter mix."""
    exhausted: bool
    units_wanted: int | None
    """What the budget would take of it, if it had as much; None without a budget."""
    phases: list[PhaseShare] = field(default_factory=list)
    """Empty where the weights stay the same."""


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """One stretch of the schedule."""

    name: str
    weights: list[Fraction]  # [sources]
    caps: list[int]  # [sources] epochs
    wanted: int | None
    """Units, or None without a budget."""
    schedule: Schedule
    num_docs: list[int]  # [sources] emitted in it

    @cached_property
    def targets(self) -> list[Fraction]:
        """[sources] of the units of the phase."""
        total = sum(self.weights, Fraction(0))
        return [weight / total for weight in self.weights]


@dataclass(frozen=True)
class Plan:
    """The schedule of a mix, and what it amounts to for each source."""

    options: MixOptions
    indexes: Sequence[SourceIndex]
    schedule: Schedule
    """Of all phases together."""
    phases: list[PlannedPhase]
    """Those that are reached."""
    unreached: list[PlannedPhase]
    rows: list[SourcePlan]

    def short_by(self) -> int:
        """Units by which the plan stays below the budget; 0 without one."""
        return max(0, (self.budget or 0) - self.schedule.total)

    @property
    def budget(self) -> int | None:
        """Units of all phases together."""
        return phase_ends(self.options.phases, self.options.budget)[-1]

    def emissions(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(sources [n] uint16, document numbers [n] int64) of emissions start ... stop - 1 (or fewer at the end)."""
        sources = self.schedule.order[start:stop]
        docs = np.empty(len(sources), dtype=np.int64)
        given = self._given_before(start)
        for source in np.unique(sources).tolist():
            mine, first = sources == source, int(given[source])
            stop_at = first + int(np.count_nonzero(mine))
            docs[mine] = _documents(self.indexes[source], self.options, first, stop_at)
        return sources, docs

    def _given_before(self, start: int) -> np.ndarray:
        """[sources] int64: documents that each source gave before emission `start`."""
        order = self.schedule.order
        block = min(start, len(order)) // COUNTED_EVERY
        tail = np.bincount(order[block * COUNTED_EVERY : start], minlength=len(self.indexes))
        return self._counts_by_block[block] + tail

    @cached_property
    def _counts_by_block(self) -> np.ndarray:
        """[blocks + 1, sources] int64: the counts at every 65,536th emission, so that a span may begin anywhere."""
        order = self.schedule.order
        counts = np.zeros((len(order) // COUNTED_EVERY + 1, len(self.indexes)), dtype=np.int64)
        for block in range(1, len(counts)):
            part = order[(block - 1) * COUNTED_EVERY : block * COUNTED_EVERY]
            counts[block] = counts[block - 1] + np.bincount(part, minlength=len(self.indexes))
        return counts


def make_plan(indexes: Sequence[SourceIndex], options: MixOptions) -> Plan:
    """Run the schedule. Raises SeaError when the budget cannot be met under `--on-exhaust error`, or when a source
    counts nothing in the unit."""
    units = [index.units(options.unit).astype(np.uint32) for index in indexes]
    for index, sizes in zip(indexes, units, strict=True):
        if not sizes.any():
            raise SeaError(f"source {index.spec.name} has no {options.unit}", fix="another --unit, or leave it out")
    weights = _weights(indexes, units, options)
    phases, unreached, deviations = _run(indexes, units, weights, options)
    schedule = _joined([phase.schedule for phase in phases], len(indexes))
    plan = Plan(options, indexes, schedule, phases, unreached, [])
    plan.rows.extend(_row(plan, source, weights[source], deviations[source]) for source in range(len(indexes)))
    if options.on_exhaust == "error" and plan.short_by():
        from seatools.mix.plan_report import shortfall

        raise SeaError(
            f"the budget of {plan.budget:,} {options.unit} ends at {schedule.total:,}: {shortfall(plan)}",
            fix="a smaller --budget, more --max-epochs, or --on-exhaust stop or renormalize",
        )
    return plan


def _documents(index: SourceIndex, options: MixOptions, start: int, stop: int) -> np.ndarray:
    """Document numbers [stop - start] int64: those that the source gives as its start-th to (stop - 1)-th."""
    name, shuffle = index.spec.name, options.shuffle
    return nth_documents(start, stop, len(index), seed=options.seed, name=name, shuffle=shuffle)


def _weights(indexes: Sequence[SourceIndex], units: Sequence[np.ndarray], options: MixOptions) -> list[Fraction]:
    """[sources] the weights where no phase has others. A source that was split is weighed as one, and its parts share
    its weight: equally, or under UniMax as far as the epochs of each reach."""
    specs = [index.spec for index in indexes]
    sizes = [int(counted.sum(dtype=np.int64)) for counted in units]
    families: dict[str, list[int]] = {}
    for source, spec in enumerate(specs):
        families.setdefault(spec.family, []).append(source)
    if options.unimax:
        assert options.budget is not None
        capacities = [size * options.epochs_of(spec) for size, spec in zip(sizes, specs, strict=True)]
        of_parts = [[capacities[source] for source in parts] for parts in families.values()]
        filled = unimax_part_weights(of_parts, options.budget)
        by_source = dict(zip(chain(*families.values()), chain(*filled), strict=True))
        most = max(by_source.values())
        return [by_source[source] / most for source in range(len(specs))]
    made = [Fraction(1)] * len(families)
    if options.temperature is not None:
        together = [sum(sizes[source] for source in parts) for parts in families.values()]
        made = temperature_weights(together, options.temperature)
    by_family = dict(zip(families, made, strict=True))
    return [(by_family[spec.family] if spec.weight is None else spec.weight) / spec.parts for spec in specs]


def _run(
    indexes: Sequence[SourceIndex], units: Sequence[np.ndarray], weights: list[Fraction], options: MixOptions
) -> tuple[list[PlannedPhase], list[PlannedPhase], list[float | None]]:
    """The phases that are reached, those that are not, and the greatest deviation [sources] of a share in a window."""
    given, total, previous = [0] * len(indexes), 0, 0
    deviations: list[float | None] = [None] * len(indexes)
    planned: list[PlannedPhase] = []
    unreached: list[PlannedPhase] = []
    for phase, end in zip(options.phases or (None,), phase_ends(options.phases, options.budget), strict=True):
        # A phase that was not filled leaves nothing for the next to make up; the document over its end is taken off.
        wanted = None if end is None else max(0, end - max(total, previous))
        previous = end or 0
        specs = [index.spec for index in indexes]
        own = {} if phase is None else phase.weights
        chosen = [
            own[spec.family] / spec.parts if spec.family in own else weight
            for spec, weight in zip(specs, weights, strict=True)
        ]
        caps = [options.epochs_of(spec, phase) for spec in specs]
        name = "" if phase is None else phase.name
        if planned and planned[-1].schedule.exhausted and options.on_exhaust != "renormalize":
            nothing = Schedule(np.empty(0, np.uint16), [0] * len(indexes), [])
            unreached.append(
                PlannedPhase(
                    name=name, weights=chosen, caps=caps, wanted=wanted, schedule=nothing, num_docs=[0] * len(indexes)
                )
            )
            continue
        whole = sum(chosen, Fraction(0))
        shares = WindowShares([float(weight / whole) for weight in chosen])

        def sizes_of(source: int, cursor: int) -> Sizes:
            counted, index = units[source], indexes[source]
            return lambda start, stop: counted[_documents(index, options, cursor + start, cursor + stop)].astype(int)

        schedule = fair_queue(
            [sizes_of(source, cursor) for source, cursor in enumerate(given)],
            [max(0, cap * len(index) - cursor) for cap, index, cursor in zip(caps, indexes, given, strict=True)],
            chosen,
            budget=wanted,
            on_exhaust=options.on_exhaust,
            observe=shares.add,
        )
        counts = np.bincount(schedule.order, minlength=len(indexes)).tolist()
        given = [cursor + count for cursor, count in zip(given, counts, strict=True)]
        total += schedule.total
        planned.append(
            PlannedPhase(name=name, weights=chosen, caps=caps, wanted=wanted, schedule=schedule, num_docs=counts)
        )
        for source, found in enumerate(shares.greatest() or ()):
            deviations[source] = max(deviations[source] or 0.0, found)
    return planned, unreached, deviations


def _joined(schedules: list[Schedule], num_sources: int) -> Schedule:
    """The schedules end to end; a source is exhausted where it was so in one of them."""
    if len(schedules) == 1:
        return schedules[0]
    exhausted = dict.fromkeys(source for schedule in schedules for source in schedule.exhausted)
    emitted = [sum(schedule.emitted[source] for schedule in schedules) for source in range(num_sources)]
    return Schedule(np.concatenate([schedule.order for schedule in schedules]), emitted, list(exhausted))


def _row(plan: Plan, source: int, weight: Fraction, deviation: float | None) -> SourcePlan:
    index, options, schedule = plan.indexes[source], plan.options, plan.schedule
    num_emitted = sum(phase.num_docs[source] for phase in plan.phases)
    passes = num_emitted // len(index)
    again = _documents(index, options, passes * len(index), num_emitted)
    held, emitted = {}, {}
    for unit in _COLUMNS if len(index.num_tokens) else _COLUMNS[:1]:
        sizes = index.units(unit)
        held[unit] = int(sizes.sum())
        emitted[unit] = passes * held[unit] + int(sizes[again].sum())
    phases = [*plan.phases, *plan.unreached]
    wanted = [phase.targets[source] * (phase.wanted or 0) for phase in phases]
    planned = sum(phase.wanted or 0 for phase in phases)
    target = sum(wanted, Fraction(0)) / planned if planned else plan.phases[0].targets[source]
    return SourcePlan(
        source=index.spec.name,
        files=len(index.stored_files),
        docs=len(index),
        bytes=held["bytes"],
        tokens=held.get("tokens"),
        loss_tokens=held.get("loss-tokens"),
        bytes_per_token=round(held["bytes"] / held["tokens"], 4) if "tokens" in held else None,
        rejected=index.num_rejected,
        weight=float(weight),
        max_epochs=plan.phases[-1].caps[source],
        unit=options.unit,
        emitted=schedule.emitted[source],
        emitted_docs=num_emitted,
        emitted_bytes=emitted["bytes"],
        emitted_tokens=emitted.get("tokens"),
        emitted_loss_tokens=emitted.get("loss-tokens"),
        epochs=round(num_emitted / len(index), 4),
        share=round(schedule.emitted[source] / schedule.total, 6),
        target_share=round(float(target), 6),
        window_deviation=None if deviation is None else round(deviation, 6),
        exhausted=source in schedule.exhausted,
        units_wanted=None if plan.budget is None else round(sum(wanted, Fraction(0))),
        phases=_phase_shares(plan, source) if options.phases else [],
    )


def _phase_shares(plan: Plan, source: int) -> list[PhaseShare]:
    found, given = [], 0
    for phase in plan.phases:
        schedule = phase.schedule
        given += phase.num_docs[source]
        share = PhaseShare(
            phase=phase.name,
            weight=float(phase.weights[source]),
            max_epochs=phase.caps[source],
            emitted=schedule.emitted[source],
            emitted_docs=phase.num_docs[source],
            epochs=round(given / len(plan.indexes[source]), 4),
            share=round(schedule.emitted[source] / schedule.total, 6) if schedule.total else 0.0,
            target_share=round(float(phase.targets[source]), 6),
            exhausted=source in schedule.exhausted,
        )
        found.append(share)
    return found
