"""One small command line for each writer, and what stands under its output's name afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiny_llama import TEXTS, write_model, write_tokenizer

CLOCK = ("metrics.jsonl", ".manifest.json")
"""What differs from run to run: clocks, hosts, paths."""


@dataclass(frozen=True)
class Job:
    """`argv(out)` writes `out` (a file, or a folder if `folder`) from what is in the folder of inputs."""

    name: str
    argv: Callable[[Path, Path], list[object]]
    """(inputs, out) -> the command line."""
    out: str
    folder: bool = False
    stdout: bool = False
    """Without -o it writes to stdout."""


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_inputs(folder: Path) -> Path:
    """A tiny model with its tokenizer, texts of two languages, prompts, responses, preferences."""
    write_tokenizer(folder / "model")
    write_model(folder / "model", max_position_embeddings=4096)
    _lines(
        folder / "th.jsonl",
        [{"text": f"{row['text']} {number} ngata kaya", "lang": "th"} for number in range(40) for row in TEXTS],
    )
    _lines(folder / "en.jsonl", [{"text": f"inay {number} " * 6, "lang": "en"} for number in range(200)])
    _lines(folder / "prompts.jsonl", [{"prompt": f"kaya {number}", "id": number} for number in range(24)])
    _lines(
        folder / "prefs.jsonl", [{"prompt": f"kaya {n}", "chosen": " ulan", "rejected": " puno ng"} for n in range(12)]
    )
    _lines(folder / "answers.jsonl", [{"prompt": f"kaya {n}", "responses": ["ulan", "puno"]} for n in range(12)])
    return folder


JOBS = [
    Job(
        "mix",
        lambda i, o: ["mix", f"th={i}/th.jsonl:2", f"en={i}/en.jsonl:1", "--unit", "bytes", "-o", o],
        "m.jsonl",
        stdout=True,
    ),
    Job("mix-gz", lambda i, o: ["mix", f"th={i}/th.jsonl:2", "--unit", "docs", "-o", o], "m.jsonl.gz"),
    Job(
        "mix-pack",
        lambda i, o: ["mix", f"th={i}/th.jsonl", "--tokenizer", i / "model", "--pack", 64, "-o", o],
        "m.safetensors",
    ),
    Job(
        "mix-shards",
        lambda i, o: [
            "mix",
            f"th={i}/th.jsonl",
            "--tokenizer",
            i / "model",
            "--pack",
            64,
            "--shard-size",
            "16KB",
            "-o",
            o,
        ],
        "shards",
        folder=True,
    ),
    Job("clean", lambda i, o: ["clean", i / "th.jsonl", "-o", o], "c.jsonl", stdout=True),
    Job("audit", lambda i, o: ["audit", i / "model", f"th={i}/th.jsonl", "--json", "-o", o], "a.jsonl", stdout=True),
    Job(
        "vocab-extend",
        lambda i, o: ["vocab-extend", i / "model", f"th={i}/th.jsonl", "--add", 8, "-o", o],
        "tok",
        folder=True,
    ),
    Job(
        "embed-init",
        lambda i, o: ["embed-init", i / "model", "--tokenizer", i / "extended", "-o", o],
        "init",
        folder=True,
    ),
    Job(
        "train",
        lambda i, o: [
            "train",
            i / "model",
            i / "th.jsonl",
            "-o",
            o,
            "--max-steps",
            2,
            "--seq-len",
            32,
            "--save-every",
            1,
            "--device",
            "cpu",
        ],
        "run",
        folder=True,
    ),
    Job(
        "dpo",
        lambda i, o: [
            "dpo",
            i / "model",
            i / "prefs.jsonl",
            "-o",
            o,
            "--max-steps",
            2,
            "--batch-size",
            4,
            "--save-every",
            1,
            "--lr",
            1e-3,
            "--device",
            "cpu",
        ],
        "aligned",
        folder=True,
    ),
    Job(
        "sample",
        lambda i, o: [
            "sample",
            i / "model",
            i / "prompts.jsonl",
            "-n",
            2,
            "--max-new-tokens",
            4,
            "--device",
            "cpu",
            "-o",
            o,
        ],
        "s.jsonl",
        stdout=True,
    ),
    Job(
        "judge",
        lambda i, o: ["judge", i / "model", i / "answers.jsonl", "--device", "cpu", "-o", o],
        "j.jsonl",
        stdout=True,
    ),
    Job(
        "lsn-detect",
        lambda i, o: [
            "lsn-detect",
            i / "model",
            "--lang",
            f"th={i}/th.jsonl",
            "--lang",
            f"en={i}/en.jsonl",
            "--method",
            "lape",
            "--device",
            "cpu",
            "-o",
            o,
        ],
        "n.safetensors",
    ),
    Job(
        "eval",
        lambda i, o: [
            "eval",
            i / "model",
            "perplexity",
            "--data",
            f"th={i}/th.jsonl",
            "--device",
            "cpu",
            "--json",
            "-o",
            o,
        ],
        "e.jsonl",
        stdout=True,
    ),
]
BY_NAME = {job.name: job for job in JOBS}
RUNS = ["train", "dpo"]
"""Those that keep checkpoints in their output, and begin it as soon as they begin."""


def content(path: Path) -> dict[str, str]:
    """Digest by name of every file of an output that repeats; {} if there is none."""
    if path.is_file():
        return {"": hashlib.sha256(path.read_bytes()).hexdigest()}
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.endswith(CLOCK)]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def visible(folder: Path) -> set[str]:
    """Names in `folder` that are not hidden."""
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}


def hidden(folder: Path) -> set[str]:
    """What a run left under names that no glob finds."""
    return {entry.name for entry in folder.iterdir() if entry.name.startswith(".")}
