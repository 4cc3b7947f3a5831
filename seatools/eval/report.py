"""Score records of a run's samples, and where they go: a file, stdout, a table, lm-evaluation-harness' layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seatools.eval.harness_layout import harness_files
from seatools.eval.parity import COSTS, PARITY, parity_records
from seatools.eval.results import as_json, as_jsonl, collect, scores
from seatools.eval.samples import Sample, keyed
from seatools.eval.setup import Options

if TYPE_CHECKING:
    from seatools.eval.evaluation import Evaluation


def score_records(samples: Sequence[Sample], options: Options) -> list[dict[str, Any]]:
    """The records of `results.scores` in the order of the samples, and the parity of parallel texts."""
    order: dict[tuple[str, str, str, bytes], int] = {}
    for sample in samples:
        order.setdefault((sample.task, sample.lang, sample.scoring, keyed(sample.config)), len(order))
    groups = collect(samples)
    groups.sort(key=lambda group: order[group.task, group.lang, group.scoring_name, keyed(group.config)])
    records = scores(groups, seed=options.seed, resamples=options.resamples)
    if options.reference is not None:
        texts = [sample for sample in samples if sample.kind in COSTS]
        records += parity_records(texts, options.reference)
    return records


def write_scores(records: Sequence[dict[str, Any]], evaluation: Evaluation) -> None:
    """To the output, to stdout or as a table, and to the harness' folder."""
    from seatools.eval.table import print_table
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.inputs import bare_suffix
    from seatools.streams.outputs import open_output, output_folder

    output = evaluation.output
    to_file = output not in (None, "-")
    if to_file or prints_jsonl(evaluation.json):
        array = to_file and bare_suffix(str(output)) == ".json"
        with open_output(output, force=evaluation.force, inputs=evaluation.inputs) as stream:
            stream.write(as_json(records) if array else as_jsonl(records))
    if not prints_jsonl(evaluation.json):
        print_table([row if row["value"] is not None else row | {"value": math.nan} for row in records])
    if evaluation.harness is not None:
        with output_folder(evaluation.harness, force=evaluation.force, inputs=evaluation.inputs) as folder:
            for name, body in harness_files([row for row in records if row["metric"] != PARITY]).items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(body)
