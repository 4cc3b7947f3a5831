"""Small sources for tests of `seatools.mix`: files of records, indexed, and planned without the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from seatools.mix.document_store import DocumentStore
from seatools.mix.options import MixOptions
from seatools.mix.phases import Phase
from seatools.mix.plan import Plan, make_plan
from seatools.mix.source_index import SourceIndex, build_index
from seatools.streams.records import Rejects
from seatools.streams.source_specs import SourceSpec


def write_records(path: Path, texts: Sequence[str], **more: Any) -> Path:
    """A JSONL file of text records."""
    path.write_bytes(b"".join(orjson.dumps({"text": text, **more}) + b"\n" for text in texts))
    return path


def spec_of(path: Path | str, name: str = "a", weight: int = 1) -> SourceSpec:
    """One source."""
    return SourceSpec(name=name, glob=str(path), weight=Fraction(weight), max_epochs=None)


def index_of(path: Path | str, store: DocumentStore, rejects: Rejects | None = None, **options: Any) -> SourceIndex:
    """Its index, by default without a tokenizer."""
    options = {"documents": None, "quiet": True, **options}
    return build_index(spec_of(path), store, rejects or Rejects(), **options)


def plan_of(paths: Sequence[Path], store: DocumentStore, *, documents: Any = None, **options: Any) -> Plan:
    """A plan over one source a path (weights 1, 2, 3, ...), by documents."""
    specs = [spec_of(path, f"s{i}", i + 1) for i, path in enumerate(paths)]
    indexes = [build_index(spec, store, Rejects(), documents=documents, quiet=True) for spec in specs]
    options = {"unit": "docs", "max_epochs": 2, "on_exhaust": "renormalize", **options}
    return make_plan(indexes, MixOptions(sources=tuple(specs), **options))


def emitted(plan: Plan) -> list[tuple[int, int]]:
    """(source, document number) of each emission of a plan, in order."""
    sources, docs = plan.emissions(0, len(plan.schedule.order))
    return list(zip(sources.tolist(), docs.tolist(), strict=True))


def texts(output: bytes) -> list[str]:
    """The texts of lines of JSONL."""
    return [orjson.loads(line)["text"] for line in output.splitlines()]


def plan_rows(result: Any) -> dict[str, dict[str, Any]]:
    """The rows of `sea mix --dry-run`, by source."""
    assert result.code == 0, result.stderr
    return {row["source"]: row for row in map(orjson.loads, result.stdout.splitlines())}


def sized_plan(
    sizes: Mapping[str, Sequence[int]], phases: Sequence[Phase], *, max_epochs: int = 4, on_exhaust: Any = "stop",
    budget: int | None = None, weights: Any = None,
) -> Plan:  # fmt: skip
    """A plan by bytes for sources {name: [bytes of each document]}, of which no file holds a byte."""
    specs = [SourceSpec(name=name, glob="unused", weight=None if weights is None else weights[name]) for name in sizes]
    options = MixOptions(
        sources=tuple(specs), unit="bytes", budget=budget, max_epochs=max_epochs, on_exhaust=on_exhaust,
        phases=tuple(phases),
    )  # fmt: skip
    store = DocumentStore()
    indexes = [
        SourceIndex(
            spec, store, files=np.zeros(len(sizes[spec.name]), np.uint32),
            num_bytes=np.array(sizes[spec.name], np.uint32),
        )
        for spec in specs
    ]  # fmt: skip
    return make_plan(indexes, options)
