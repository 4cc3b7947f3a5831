"""Packing documents into rows: ours beside TRL's `pack_dataset` and a plain concatenate-and-split.

    python benchmarks/packing.py [--docs 300000] [--row-length 4096] [--window 10000] [--runs 3] [--no-peer]

Lengths are log-normal(5.8, 1.2): mean 679 tokens, 1.8 % longer than 4,096 (research 4.4). Each token of a document is
the document's number, so what became of every token is counted in what comes out and not believed. Ours is timed as the
plan alone (`pack_arrays`; `pack`, its lists) and with the tokens laid into rows, window by window as they are written;
TRL, always with tokens, in .venv-peers over an Arrow data set in memory, in batches of 1,000 (its default) and of our
window. Best of --runs, per second and per CPU second (all run on one core; machines are shared). A document that would
fit is "cut" if its tokens are in more than one row or not all there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from seatools.text.packing import pack, pack_arrays

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = REPOSITORY / ".venv-peers/bin/python"
LOG_MEAN, LOG_SD = 5.8, 1.2

PEER = """
import json, sys, time
from importlib import metadata
import numpy as np, pyarrow as pa
import datasets
from datasets import Dataset
from trl import pack_dataset
datasets.disable_progress_bars()
lengths_path, out, row_length, window, runs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
lengths = np.load(lengths_path)
offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
tokens = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
data = Dataset(pa.table({"input_ids": pa.ListArray.from_arrays(offsets, tokens)}))
for strategy in ("bfd", "bfd_split", "wrapped"):
    for batch in (1000, window):
        best = cpu = 1e9
        for _ in range(runs):
            began, cpu_began = time.perf_counter(), time.process_time()
            packed = pack_dataset(data, row_length, strategy, {"batch_size": batch, "load_from_cache_file": False})
            best, cpu = min(best, time.perf_counter() - began), min(cpu, time.process_time() - cpu_began)
        column = packed.data.column("input_ids")
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
        sizes = np.concatenate([chunk.value_lengths().to_numpy() for chunk in column.chunks])
        np.savez(f"{out}/{strategy}-{batch}.npz", tokens=flat, sizes=sizes)
        print(json.dumps({"name": f"trl {strategy}, batches of {batch}", "seconds": [best, cpu]}), flush=True)
print(json.dumps({"trl": metadata.version("trl"), "datasets": metadata.version("datasets")}))
"""


def became(tokens: np.ndarray, sizes: np.ndarray, lengths: np.ndarray, row_length: int) -> dict[str, float]:
    """What is in rows of `sizes` tokens: their fill, documents that fit and were cut, tokens lost."""
    assert sizes.max() <= row_length and sizes.sum() == len(tokens)
    row = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.bincount(tokens, minlength=len(lengths))
    assert (kept <= lengths).all()
    rows_of = np.bincount(np.unique(tokens.astype(np.int64) * len(sizes) + row) // len(sizes), minlength=len(lengths))
    cut = (lengths <= row_length) & (lengths > 0) & ((rows_of > 1) | (kept < lengths))
    return {
        "rows": len(sizes),
        "fill": len(tokens) / (len(sizes) * row_length),
        "fitting_documents_cut": float(cut.mean()),
        "tokens_lost": 1 - len(tokens) / float(lengths.sum()),
    }


def best_of(runs: int, call: Callable[[], Any]) -> tuple[float, float]:
    """(seconds, CPU seconds), the least of each."""
    best = cpu = np.inf
    for _ in range(runs):
        began, cpu_began = time.perf_counter(), time.process_time()
        call()
        best, cpu = min(best, time.perf_counter() - began), min(cpu, time.process_time() - cpu_began)
    return best, cpu


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--docs", type=int, default=300_000)
    parser.add_argument("--row-length", type=int, default=4096)
    parser.add_argument("--window", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3, help="the best counts")
    parser.add_argument("--no-peer", action="store_true", help="leave TRL out")
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    row_length, window, runs = arguments.row_length, arguments.window, arguments.runs
    lengths = np.random.Generator(np.random.PCG64(0)).lognormal(LOG_MEAN, LOG_SD, arguments.docs).astype(np.int64) + 1
    docs = [np.full(n, doc, dtype=np.int32) for doc, n in enumerate(lengths.tolist())]
    about = {
        "docs": arguments.docs, "mean_tokens": float(lengths.mean()), "longer": float((lengths > row_length).mean()),
        "row_length": row_length, "window": window, "runs": runs,
    }  # fmt: skip
    print(json.dumps(about))
    results: dict[str, dict[str, float]] = {}

    def note(name: str, seconds: Sequence[float], tokens: np.ndarray, sizes: np.ndarray) -> None:
        rates = {"docs_per_second": len(lengths) / seconds[0], "docs_per_cpu_second": len(lengths) / seconds[1]}
        results[name] = rates | became(tokens, sizes, lengths, row_length)
        rate, cpu_rate, rows, fill, cut, lost = results[name].values()
        print(
            f"{name:<32} {rate:11,.0f} docs/s {cpu_rate:11,.0f} docs/CPU s {rows:8,.0f} rows  "
            f"fill {fill:.3%}  cut {cut:.3%}  lost {lost:.3%}",
            flush=True,
        )

    def laid_out(keep: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Window by window, as they are written; nothing is kept of one unless the result is looked at."""
        parts = []
        for first in range(0, len(docs), window):
            rows = pack_arrays(lengths[first : first + window], row_length, window=window)
            own = docs[first : first + window]
            pieces = zip(rows.doc.tolist(), rows.start.tolist(), rows.length.tolist(), strict=True)
            tokens = np.concatenate([own[doc][start : start + length] for doc, start, length in pieces])
            sizes = np.diff(np.concatenate([[0], np.cumsum(rows.length)])[rows.offsets])
            if keep:
                parts.append((tokens, sizes))
        return tuple(map(np.concatenate, zip(*parts, strict=True))) if keep else (tokens, sizes)

    def concatenated(keep: bool = False) -> tuple[np.ndarray, np.ndarray]:
        for first in range(0, len(docs), window):
            np.concatenate(docs[first : first + window])
        tokens = np.concatenate(docs) if keep else docs[0]
        return tokens, np.diff(np.append(np.arange(0, len(tokens), row_length), len(tokens)))

    tokens, sizes = laid_out(keep=True)
    for name, call in (
        ("sea, plan as arrays", lambda: pack_arrays(lengths, row_length, window=window)),
        ("sea, plan as lists", lambda: pack(lengths, row_length, window=window)),
        ("sea, tokens in rows", laid_out),
    ):
        note(name, best_of(runs, call), tokens, sizes)
    note("concatenate and split", best_of(runs, concatenated), *concatenated(keep=True))
    versions: dict[str, str] = {}
    if not arguments.no_peer:
        with tempfile.TemporaryDirectory(prefix="packing-") as folder:
            np.save(f"{folder}/lengths.npy", lengths)
            command = [PEERS, "-c", PEER, f"{folder}/lengths.npy", folder, row_length, window, runs]
            process = subprocess.Popen([*map(str, command)], cwd=folder, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for line in process.stdout:
                said = json.loads(line)
                if "name" not in said:
                    versions = said
                    continue
                _, strategy, *_, batch = said["name"].replace(",", "").split()
                with np.load(f"{folder}/{strategy}-{batch}.npz") as packed:
                    note(said["name"], said["seconds"], packed["tokens"], packed["sizes"])
            if process.wait():
                raise SystemExit(f"TRL failed; is it in {PEERS.parent.parent}? (make peers)")
        ours = results["sea, tokens in rows"]["docs_per_cpu_second"]
        best_peer = max(result["docs_per_cpu_second"] for name, result in results.items() if name.startswith("trl bfd"))
        print(f"ours, tokens in rows: {ours / best_peer:.1f} x TRL's fastest bfd")
    if not arguments.no_record:
        load = os.getloadavg()[0]
        record("packing", {**about, "peers": versions, "results": results, "load": load}, cores=os.cpu_count())


if __name__ == "__main__":
    sys.exit(main())
