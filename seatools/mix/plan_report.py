"""The plan for people and for programs: a table with its end, what is not as it was asked for, rows as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from seatools.mix.plan import Plan, SourcePlan
from seatools.streams.sizes import human_count

SKEW_LIMIT = 0.01
"""A share that misses its target by more than this is said to."""


def plan_table(plan: Plan, width: int | None = None) -> str:
    """The plan as aligned columns, with a table for each phase and a line on where it ends and how exact it is.

    `width`: of the terminal; columns that do not fit go on below, after the sources' names again.
    """
    unit = plan.options.unit
    head = ["source", "docs", "bytes", "tokens", "bytes/token", "weight", "epochs", "emitted docs"]
    by_tokens = unit != "tokens" and all(row.emitted_tokens is not None for row in plan.rows)
    table = [[*head, *([f"emitted {unit}"] if unit != "docs" else []), "share"]]
    if by_tokens:
        table[0].append("emitted tokens")
    for row in plan.rows:
        cells = [
            row.source,
            f"{row.docs:,}",
            f"{row.bytes:,}",
            "-" if row.tokens is None else f"{row.tokens:,}",
            "-" if row.bytes_per_token is None else f"{row.bytes_per_token:.2f}",
            f"{row.weight:.4g}",
            f"{row.epochs:.2f} of {row.max_epochs}",
            f"{row.emitted_docs:,}",
            *([f"{row.emitted:,}"] if unit != "docs" else []),
            f"{row.share:.2%}",
        ]
        table.append([*cells, f"{row.emitted_tokens:,}"] if by_tokens else cells)
    return "\n".join([*_aligned(table, width), *_phase_tables(plan, width), _ending(plan), *_accuracy(plan)])


def _phase_tables(plan: Plan, width: int | None) -> list[str]:
    if not plan.options.phases:
        return []
    lines = []
    for number, phase in enumerate(plan.phases):
        wanted = f"{phase.schedule.total:,} of {phase.wanted:,} {plan.options.unit}"
        lines.append(f"phase {phase.name}: {wanted}")
        table = [["", "weight", "epochs so far", "emitted docs", f"emitted {plan.options.unit}", "share", "target"]]
        for row in plan.rows:
            share = row.phases[number]
            table.append(
                [
                    f"  {row.source}",
                    f"{share.weight:.4g}",
                    f"{share.epochs:.2f} of {share.max_epochs}",
                    f"{share.emitted_docs:,}",
                    f"{share.emitted:,}",
                    f"{share.share:.2%}",
                    f"{share.target_share:.2%}",
                ]
            )
        lines.extend(_aligned(table, width))
    return lines


def _aligned(table: list[list[str]], width: int | None) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    groups: list[list[int]] = [[]]
    taken = widths[0]
    for column in range(1, len(widths)):
        if width is not None and groups[-1] and taken + 2 + widths[column] > width:
            groups.append([])
            taken = widths[0]
        groups[-1].append(column)
        taken += 2 + widths[column]
    return [
        "  ".join([row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in columns)])
        for columns in groups
        for row in table
    ]


def _ending(plan: Plan) -> str:
    text = f"{plan.schedule.total:,} {plan.options.unit} in {len(plan.schedule.order):,} documents"
    if plan.budget is not None and not plan.short_by():
        return f"{text}; ends at the budget of {human_count(plan.budget)}"
    last = plan.rows[plan.schedule.exhausted[-1]]
    return f"{text}; ends where {last.source} is used up ({_epochs(last.max_epochs)})"


def _accuracy(plan: Plan) -> list[str]:
    """How far the share of any source is from its target in a window of a million units, one every 50,000."""
    known = [row for row in plan.rows if row.window_deviation is not None]
    if not known or len(plan.rows) < 2:
        return []
    worst = max(known, key=lambda row: row.window_deviation or 0.0)
    return [
        f"in windows of a million {plan.options.unit} shares are within {worst.window_deviation:.2%} of their "
        f"targets (farthest: {worst.source})"
    ]


def shortfall(plan: Plan) -> str:
    """Which source keeps the plan below its budget, and how much of it the budget would take."""
    row = plan.rows[plan.schedule.exhausted[-1 if plan.options.on_exhaust == "renormalize" else 0]]
    where = f" in phase {plan.phases[-1].name}" if plan.options.phases else ""
    text = f"source {row.source} is used up ({_epochs(row.max_epochs)}){where}"
    return text + (f"; {_wanted(row)}" if _wanted(row) else "")


def _wanted(row: SourcePlan) -> str:
    """How many epochs the budget would take of a source that ran out."""
    if not row.units_wanted or row.units_wanted <= row.emitted or not row.emitted:
        return ""
    epochs = row.units_wanted * row.epochs / row.emitted
    return f"the budget would take {row.units_wanted:,} {row.unit} of it ({epochs:.1f} epochs)"


def plan_warnings(plan: Plan) -> list[str]:
    """Where the plan is not what was asked for: a budget not reached, sources that ran out, shares that are off."""
    options, found = plan.options, []
    used_up = [plan.rows[source] for source in plan.schedule.exhausted]
    if plan.short_by():
        reached = f"{plan.schedule.total:,} of {plan.budget:,} {options.unit}"
        found.append(f"the budget is not reached: {reached}, because {shortfall(plan)}")
        if plan.unreached:
            found.append(f"the mix ends before phase {', '.join(phase.name for phase in plan.unreached)}")
    if options.on_exhaust == "renormalize":
        for row in used_up[:-1] if plan.short_by() or plan.budget is None else used_up:
            wanted = f"; {_wanted(row)}" if _wanted(row) else ""
            found.append(
                f"source {row.source} is used up ({_epochs(row.max_epochs)}); the others go on without it{wanted}"
            )
    skewed = [row for row in plan.rows if abs(row.share - row.target_share) > SKEW_LIMIT]
    if skewed and not (used_up and (options.on_exhaust == "renormalize" or options.phases)):
        shares = ", ".join(f"{row.source} {row.share:.1%} instead of {row.target_share:.1%}" for row in skewed)
        found.append(f"documents are long for so small a mix, so that shares miss their targets: {shares}")
    return found


def as_records(plan: Plan) -> list[dict[str, Any]]:
    """The rows as JSON objects."""
    return [asdict(row) for row in plan.rows]


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"
