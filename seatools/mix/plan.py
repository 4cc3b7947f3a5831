"""What a mix will emit, decided to the document before a byte is written.

The schedule is run once over the counted units alone; emission replays it. So the figures of the plan are those of
the output, and `--on-exhaust error` fails before there is one. Cost: about 1 us and 2 bytes a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seatools.mix.fair_queue import Schedule, fair_queue
from seatools.mix.keyed_order import document_numbers, epoch_order
from seatools.mix.options import MixOptions
from seatools.mix.source_index import SourceIndex, Unit
from seatools.streams.errors import SeaError
from seatools.streams.sizes import human_count

if TYPE_CHECKING:
    import numpy as np

_COLUMNS: tuple[Unit, ...] = ("bytes", "tokens", "loss-tokens")
SKEW_LIMIT = 0.01
"""A share that misses its target by more than this is said to."""


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
    exhausted: bool


@dataclass(frozen=True)
class Plan:
    """The schedule of a mix, and what it amounts to for each source."""

    options: MixOptions
    indexes: Sequence[SourceIndex]
    schedule: Schedule
    rows: list[SourcePlan]

    def documents(self) -> Iterator[tuple[int, int]]:
        """(source, document number) of each emission, in order."""
        import numpy as np

        streams = [_in_order(np.arange(len(index)), index, self.options) for index in self.indexes]
        for source in self.schedule.order:
            yield source, next(streams[source])

    def short_by(self) -> int:
        """Units by which the plan stays below the budget; 0 without one."""
        return max(0, (self.options.budget or 0) - self.schedule.total)


def make_plan(indexes: Sequence[SourceIndex], options: MixOptions) -> Plan:
    """Run the schedule. Raises SeaError when the budget cannot be met under `--on-exhaust error`, or when a source
    counts nothing in the unit."""
    units = [index.units(options.unit) for index in indexes]
    for index, sizes in zip(indexes, units, strict=True):
        if not sizes.any():
            raise SeaError(f"source {index.spec.name} has no {options.unit}", fix="another --unit, or leave it out")
    sizes_in_order = [_in_order(sizes, index, options) for index, sizes in zip(indexes, units, strict=True)]
    weights = [index.spec.weight for index in indexes]
    schedule = fair_queue(sizes_in_order, weights, budget=options.budget, on_exhaust=options.on_exhaust)
    plan = Plan(options, indexes, schedule, _rows(indexes, options, schedule))
    if options.on_exhaust == "error" and plan.short_by():
        name = indexes[schedule.exhausted[0]].spec.name
        raise SeaError(
            f"the budget of {options.budget:,} {options.unit} cannot be met: source {name} is used up "
            f"({_epochs(plan.rows[schedule.exhausted[0]].max_epochs)}) at {schedule.total:,}",
            fix="a smaller --budget, more --max-epochs, or --on-exhaust stop or renormalize",
        )
    return plan


def _in_order(values: np.ndarray, index: SourceIndex, options: MixOptions) -> Iterator[int]:
    """`values[d]` of each document d of the source, in the order in which all its epochs may emit them."""
    max_epochs, name = options.epochs_of(index.spec), index.spec.name
    for part in document_numbers(len(index), max_epochs, seed=options.seed, name=name, shuffle=options.shuffle):
        yield from values[part].tolist()


def _rows(indexes: Sequence[SourceIndex], options: MixOptions, schedule: Schedule) -> list[SourcePlan]:
    total_weight = sum(index.spec.weight for index in indexes)
    counts = Counter(schedule.order)
    rows = []
    for source, index in enumerate(indexes):
        spec, num_emitted = index.spec, counts[source]
        passes, rest = divmod(num_emitted, len(index))
        order = epoch_order(len(index), seed=options.seed, name=spec.name, epoch=passes, shuffle=options.shuffle)
        held, emitted = {}, {}
        for unit in _COLUMNS if index.num_tokens else _COLUMNS[:1]:
            sizes = index.units(unit)
            held[unit] = int(sizes.sum())
            emitted[unit] = passes * held[unit] + int(sizes[order[:rest]].sum())
        row = SourcePlan(
            source=spec.name,
            files=len(index.stored_files),
            docs=len(index),
            bytes=held["bytes"],
            tokens=held.get("tokens"),
            loss_tokens=held.get("loss-tokens"),
            bytes_per_token=round(held["bytes"] / held["tokens"], 4) if "tokens" in held else None,
            rejected=index.num_rejected,
            weight=float(spec.weight),
            max_epochs=options.epochs_of(spec),
            unit=options.unit,
            emitted=schedule.emitted[source],
            emitted_docs=num_emitted,
            emitted_bytes=emitted["bytes"],
            emitted_tokens=emitted.get("tokens"),
            emitted_loss_tokens=emitted.get("loss-tokens"),
            epochs=round(num_emitted / len(index), 4),
            share=round(schedule.emitted[source] / schedule.total, 6),
            target_share=round(float(spec.weight / total_weight), 6),
            exhausted=source in schedule.exhausted,
        )
        rows.append(row)
    return rows


def plan_table(plan: Plan) -> str:
    """The plan as aligned columns, with one line on where it ends."""
    unit = plan.options.unit
    head = ["source", "docs", "bytes", "tokens", "bytes/token", "weight", "epochs", "emitted docs", f"emitted {unit}"]
    table = [head[:-1] + ["share"] if unit == "docs" else [*head, "share"]]
    for row in plan.rows:
        cells = [
            row.source,
            f"{row.docs:,}",
            f"{row.bytes:,}",
            "-" if row.tokens is None else f"{row.tokens:,}",
            "-" if row.bytes_per_token is None else f"{row.bytes_per_token:.2f}",
            f"{row.weight:g}",
            f"{row.epochs:.2f} of {row.max_epochs}",
            f"{row.emitted_docs:,}",
            f"{row.emitted:,}",
            f"{row.share:.2%}",
        ]
        table.append(cells[:-2] + cells[-1:] if unit == "docs" else cells)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in table)
    ]
    return "\n".join([*lines, _ending(plan)])


def _ending(plan: Plan) -> str:
    options, schedule = plan.options, plan.schedule
    text = f"{schedule.total:,} {options.unit} in {len(schedule.order):,} documents"
    if options.budget is not None and not plan.short_by():
        return f"{text}; ends at the budget of {human_count(options.budget)}"
    last = plan.rows[schedule.exhausted[-1]]
    return f"{text}; ends where {last.source} is used up ({_epochs(last.max_epochs)})"


def plan_warnings(plan: Plan) -> list[str]:
    """Where the plan is not what was asked for: a budget not reached, sources that ran out, shares that are off."""
    options, found = plan.options, []
    used_up = [plan.rows[source] for source in plan.schedule.exhausted]
    if plan.short_by():
        found.append(
            f"the budget is not reached: {plan.schedule.total:,} of {options.budget:,} {options.unit}, because "
            f"{used_up[-1].source} is used up ({_epochs(used_up[-1].max_epochs)})"
        )
    if options.on_exhaust == "renormalize":
        for row in used_up[:-1] if plan.short_by() or options.budget is None else used_up:
            found.append(f"source {row.source} is used up ({_epochs(row.max_epochs)}); the others go on without it")
    skewed = [row for row in plan.rows if abs(row.share - row.target_share) > SKEW_LIMIT]
    if skewed and not (options.on_exhaust == "renormalize" and used_up):
        shares = ", ".join(f"{row.source} {row.share:.1%} instead of {row.target_share:.1%}" for row in skewed)
        found.append(f"documents are long for so small a mix, so that shares miss their targets: {shares}")
    return found


def as_records(plan: Plan) -> list[dict[str, Any]]:
    """The rows as JSON objects."""
    from dataclasses import asdict

    return [asdict(row) for row in plan.rows]


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"
