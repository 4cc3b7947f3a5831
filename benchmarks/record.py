"""One JSON line per benchmark run: versions, machine, date, commit, and what was measured."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "tiktoken", "gigatoken", "typer", "numpy", "orjson")


def _commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def record(benchmark: str, measured: dict[str, Any], **machine: Any) -> None:
    """Append one line to benchmarks/results/BENCHMARK.jsonl."""
    RESULTS.mkdir(exist_ok=True)
    line = {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "versions": _versions(),
        "machine": {"processor": _processor(), "system": platform.system(), **machine},
        **measured,
    }
    with open(RESULTS / f"{benchmark}.jsonl", "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
