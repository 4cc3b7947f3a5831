"""What switching off did, as records and as tables: a cell a (language off, language scored), a summary a language off.

Keys of a cell ("record": "cell"): off, scored, bits_per_byte (of the whole model), without, change and change_interval;
random_change and random_change_interval (mean over the draws of the control), random_changes (of each); texts, bytes;
outputs and random_outputs, {"prompts", "judged", "changed", "share"}, null without --outputs.
Keys of a summary ("record": "summary"): off, neurons; own, others (mean over the other languages of the text),
selectivity, each with its _interval and for the control as random_own ...; beyond_random, own - random_own, with its
interval, which allows for another draw of the control; better_than_random, whether that is above 0 (one draw cannot
show that it is, and gives null then); hit_hardest; warnings; then how it was made.
Intervals are [low, high] of 95 %; changes are in bits per byte; a selectivity may be "inf"; null: cannot be said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from seatools.lsn_detect.bootstrap import Estimate, beyond_control, bits_per_byte_samples, estimate, selectivity
from seatools.lsn_detect.output_language import Changed, OutputJudge
from seatools.lsn_detect.switched_off import Run
from seatools.lsn_detect.verify import Measured


def report_records(
    measured: Measured,
    runs: Sequence[Run],
    num_bytes: Mapping[str, np.ndarray],
    *,
    neurons: Mapping[str, int],
    parallel: bool,
    resamples: int,
    seed: int,
    judge: OutputJudge | None,
    made: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The cells of each language switched off, and its summary after them.

    `num_bytes`: [texts] of each language scored; `neurons`: their number, of each language switched off; `parallel`:
    text k of all languages is drawn together; `made`: keys for the end of every summary.
    """
    samples = {
        lang: bits_per_byte_samples(
            nats, num_bytes[lang], resamples=resamples, seed=f"{seed} lines" if parallel else f"{seed} lines {lang}"
        )
        for lang, nats in measured.nats.items()
    }
    records: list[dict[str, Any]] = []
    for off in neurons:
        own_run = next(number for number, run in enumerate(runs) if run.lang == off and run.draw is None)
        draws = [number for number, run in enumerate(runs) if run.lang == off and run.draw is not None]
        changes: dict[str, np.ndarray] = {}
        controls: dict[str, np.ndarray] = {}
        for scored, values in samples.items():
            changes[scored] = values[:, own_run] - values[:, 0]
            if draws:
                controls[scored] = values[:, draws] - values[:, :1]
            before, without = float(values[0, 0]), float(values[0, own_run])
            own = estimate(changes[scored])
            outputs = _changed(measured, scored, [own_run], judge)
            random_outputs = _changed(measured, scored, draws, judge)
            records.append(
                {
                    "record": "cell", "off": off, "scored": scored, "bits_per_byte": before, "without": without,
                    "change": own.value, "change_interval": _interval(own),
                    **_named("random_change", estimate(controls[scored].mean(1)) if draws else None),
                    "random_changes": controls[scored][0].tolist() if draws else [],
                    "texts": len(num_bytes[scored]), "bytes": int(num_bytes[scored].sum()),
                    "outputs": outputs, "random_outputs": random_outputs,
                }
            )  # fmt: skip
        records.append({**_summary(off, neurons[off], changes, controls, seed), **made})
    return records


def _summary(
    off: str, neurons: int, changes: Mapping[str, np.ndarray], controls: Mapping[str, np.ndarray], seed: int
) -> dict[str, Any]:
    own, others, ratio = _parts(off, changes)
    means = {lang: values.mean(1) for lang, values in controls.items()}
    random_own, random_others, random_ratio = _parts(off, means) if controls else (None, None, None)
    beyond = estimate(beyond_control(changes[off], controls[off], seed=f"{seed} draws {off}")) if controls else None
    is_better = None if beyond is None else beyond.low > 0
    if is_better and controls[off].shape[1] < 2:
        is_better = None  # one draw can show that a set is no better, not that it is
    hardest = max(changes, key=lambda lang: float(changes[lang][0]))
    warnings = []
    if not neurons:
        warnings.append(f"{off} has no neurons: nothing was switched off")
    else:
        if is_better is False:
            warnings.append(
                f"the neurons of {off} do no better than random ones: {_shown(own)} bits per byte of {off}, random "
                f"{_shown(random_own)}, difference {_shown(beyond)}"
            )
        if hardest != off:
            worst = estimate(changes[hardest])
            warnings.append(
                f"the neurons of {off} serve {hardest} more: {_shown(worst)} bits per byte of {hardest}, "
                f"{_shown(own)} of {off}"
            )
    return {
        "record": "summary", "off": off, "neurons": neurons,
        **_named("own", own), **_named("others", others), **_named("selectivity", ratio),
        **_named("random_own", random_own), **_named("random_others", random_others),
        **_named("random_selectivity", random_ratio), **_named("beyond_random", beyond),
        "better_than_random": is_better,
        "hit_hardest": hardest if neurons else None, "warnings": warnings,
    }  # fmt: skip


def _parts(off: str, changes: Mapping[str, np.ndarray]) -> tuple[Estimate, Estimate | None, Estimate | None]:
    """Own change, mean of the others', selectivity; None where there are no others."""
    rest = [values for lang, values in changes.items() if lang != off]
    if not rest:
        return estimate(changes[off]), None, None
    others = np.mean(rest, axis=0)
    return estimate(changes[off]), estimate(others), estimate(selectivity(changes[off], others))


def _changed(
    measured: Measured, scored: str, numbers: Sequence[int], judge: OutputJudge | None
) -> dict[str, Any] | None:
    """How many outputs of these runs are in another language than those of the plain run."""
    outputs = measured.outputs.get(scored)
    if judge is None or outputs is None or not numbers:
        return None
    found = sum((judge.compare(outputs[0], outputs[number]) for number in numbers), Changed(0, 0, 0))
    return {"prompts": found.prompts, "judged": found.judged, "changed": found.changed, "share": found.share}


def _named(name: str, found: Estimate | None) -> dict[str, Any]:
    value, interval = (None, None) if found is None else (_number(found.value), _interval(found))
    return {name: value, f"{name}_interval": interval}


def _interval(found: Estimate) -> list[float | str]:
    return [_number(found.low), _number(found.high)]


def _number(value: float) -> float | str:
    """JSON has no infinity; jq sorts texts after numbers, so `.selectivity >= 3` holds for "inf" too."""
    return value if math.isfinite(value) else "inf"


def _shown(found: Estimate | None) -> str:
    return "none" if found is None else f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def failed_checks(
    records: Sequence[Mapping[str, Any]], *, min_selectivity: float | None, better_than_random: bool
) -> list[str]:
    """What the checks asked for have against these records, a phrase for each."""
    failed = []
    for row in records:
        if row["record"] != "summary":
            continue
        if min_selectivity is not None and float(row["selectivity"]) < min_selectivity:
            failed.append(f"selectivity of {row['off']} is {float(row['selectivity']):.3g}, below {min_selectivity:g}")
        if better_than_random and not row["better_than_random"]:
            failed.append(f"{row['off']} does no better than random")
    return failed


def print_tables(records: Sequence[Mapping[str, Any]], stream: IO[str]) -> None:
    """The matrix of changes, the control beneath it, then a row a language; * where the interval leaves out 0."""
    from rich import box
    from rich.table import Table

    from seatools.streams.tables import show_table

    cells = {(row["off"], row["scored"]): row for row in records if row["record"] == "cell"}
    summaries = [row for row in records if row["record"] == "summary"]
    langs = list(dict.fromkeys(scored for _, scored in cells))
    matrix, table = (Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)) for _ in range(2))
    matrix.add_column("switched off")
    for lang in langs:
        matrix.add_column(lang, justify="right")
    kinds = [("", "change")] + ([("random ", "random_change")] if summaries[0]["random_own"] is not None else [])
    for label, key in kinds:
        for row in summaries:
            matrix.add_row(label + row["off"], *(_cell(cells[row["off"], lang], key) for lang in langs))
        matrix.add_section()
    table.add_column("off")
    for column in ("neurons", "own", "others", "selectivity", "random", "own - random", "outputs"):
        table.add_column(column, justify="right")
    for row in summaries:
        outputs = cells[row["off"], row["off"]]["outputs"]
        share = "" if outputs is None else f"{outputs['changed']}/{outputs['judged']}"
        figures = (_figure(row, "own"), _figure(row, "others"), _figure(row, "selectivity", True))
        control = (_figure(row, "random_own"), _figure(row, "beyond_random", True))
        table.add_row(row["off"], f"{row['neurons']:,}", *figures, *control, share)
    show_table(matrix, stream, title="change in bits per byte of each text;\n* where its 95 % interval leaves out 0")
    show_table(
        table, stream, title="own language, mean of the others, and their ratio;\noutputs: how many changed language"
    )


def _cell(row: Mapping[str, Any], key: str) -> str:
    low, high = row[f"{key}_interval"]
    return f"{row[key]:+.4f}" + ("*" if low > 0 or high < 0 else " ")


def _figure(row: Mapping[str, Any], key: str, interval: bool = False) -> str:
    if row[key] is None:
        return ""
    form = ".2f" if key == "selectivity" else "+.3f"
    value, low, high = (format(float(item), form) for item in (row[key], *row[f"{key}_interval"]))
    return f"{value}\n{low} to {high}" if interval else value
