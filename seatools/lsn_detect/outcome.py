"""What comes out of a choice: the neuron file with its manifest, the report, the picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatools.engine.neuron_layout import layout_json
from seatools.lsn_detect.heat_map import draw_heat_map
from seatools.lsn_detect.neuron_weights import as_weights
from seatools.lsn_detect.report import print_table, report_rows
from seatools.lsn_detect.select import Selection, SelectOptions
from seatools.lsn_detect.table import StatsTable
from seatools.streams.flags import prints_jsonl
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.plot_style import kind_of
from seatools.streams.records import dump


def write_outcome(
    out: Path,
    plot: Path | None,
    table: StatsTable,
    chosen: Selection,
    options: SelectOptions,
    manifest: Manifest,
    *,
    force: bool,
    json: bool,
    messages: Messages,
) -> None:
    """Write `out`, its manifest and `plot`; the report, a record a language, to stdout."""
    import orjson

    from seatools.engine.neurons import neuron_metadata, save_neurons

    for warning in chosen.warnings:
        messages.warn(warning)
    metadata = neuron_metadata(
        architecture=table.metadata["architecture"], places=table.places,
        num_parameters=table.metadata["num_parameters"], method=options.method,
        thresholds=options.thresholds() | {"read": table.metadata["options"]},
        model_digest=table.metadata["model_digest"],
        corpora={lang: stats.corpora for lang, stats in table.langs.items()},
    )  # fmt: skip
    reads = read_counts(table)
    extra = {
        "reads": orjson.dumps(reads).decode(),
        "selection": orjson.dumps(chosen.facts).decode(),
        "layout": layout_json(table.places),
    }
    sets = {lang: as_weights(table.places, places) for lang, places in chosen.sets.items()}
    with open_output(out, force=force, binary=True) as stream:
        save_neurons(stream, sets, metadata | extra)
    rows = report_rows(
        table.places, chosen.sets, method=options.method, num_parameters=table.metadata["num_parameters"], reads=reads
    )
    manifest.counts = {row["lang"]: {"neurons": row["num_neurons"], **reads.get(row["lang"], {})} for row in rows}
    manifest.write(out)
    if plot is not None:
        with open_output(plot, force=force, binary=True) as stream:
            draw_heat_map(rows, stream, kind_of(plot))
    if prints_jsonl(json):
        sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in rows))
    else:
        print_table(rows, sys.stdout)
    messages.info(f"{out}: {sum(row['num_neurons'] for row in rows):,} neurons of {len(rows)} languages")


def read_counts(table: StatsTable) -> Mapping[str, Mapping[str, Any]]:
    """What was read of each language."""
    return {
        lang: {"tokens": int(stats.tokens.sum()), "docs": int(stats.docs.sum())} for lang, stats in table.langs.items()
    }
