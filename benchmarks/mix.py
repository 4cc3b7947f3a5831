"""Time, memory and ratio of `sea mix` beside `cat`, datasets and datatrove; index building beside the tokenizer.

    python benchmarks/mix.py --work FOLDER [--size full|small] [--runs 3] [--tokenizer NAME]

Two sources of unique documents of about 2.5 kB, cut at random places from ../shared/data (English; Thai, Burmese,
Khmer, Lao and Vietnamese), 1 GB together (small: 60 MB) and of such sizes that 1:3 by tokens uses up both. In turn,
best of --runs: `cat a b > out` (and with fsync, as ours ends); ours 1:3 by tokens with indexes built, to stdout and to
a file (fsync, digests and manifest); datasets.interleave_datasets with probabilities 0.25 and 0.75 of its arrow cache,
to_json; datatrove's JsonlReader, SamplerFilter, JsonlWriter in one local executor, 1:3 by documents, as neither counts
tokens. Rates are bytes written by seconds; peak is ru_maxrss. Index building is `build_index` without sidecars beside
the library's own batch call on the same texts in the same batches, both without loading. The ratio of each output is
recounted from its ids and a count of each document by the tokenizer: over all, and the worst million tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import own_process
from record import record

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
PEER_PYTHON = REPOSITORY / ".venv-peers/bin/python"
SIZES = {"full": 1_000_000_000, "small": 60_000_000}
CHARACTERS = {"a": 2500, "b": 1100}  # about 2.5 kB each
TEXTS = {
    "a": {"en": ("mono/en_speeches.jsonl", "mono/en_commonvoice.txt", "ntrex/*eng*", "flores200/dev/eng_Latn.txt")},
    "b": {
        "th": ("mono/th_*.jsonl", "flores200/dev/tha_Thai.txt"), "vi": ("mono/vi_*", "flores200/dev/vie_Latn.txt"),
        "my": ("flores200/dev/mya_Mymr.txt",), "km": ("mono/km_prompts.jsonl", "flores200/dev/khm_Khmr.txt"),
        "lo": ("mono/lo_tldr.jsonl", "flores200/dev/lao_Laoo.txt"),
    },
}  # fmt: skip
INDEX_MB = {"full": 100, "small": 8}
WINDOW = 1_000_000

DATASETS = """
import sys, time
from datasets import load_dataset, interleave_datasets
a, b, out, cache = sys.argv[1:]
parts = [load_dataset("json", data_files=path, split="train", cache_dir=cache) for path in (a, b)]
began = time.perf_counter()
mixed = interleave_datasets(parts, probabilities=[0.25, 0.75], seed=0)
mixed.to_json(out, force_ascii=False)
print(time.perf_counter() - began)
"""

DATATROVE = """
import os, shutil, sys, time
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import SamplerFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
a, b, rate_a, rate_b, out = sys.argv[1:]
def reader(path):
    return JsonlReader(os.path.dirname(path), glob_pattern=os.path.basename(path), doc_progress=False)
began = time.perf_counter()
# A reader passes on what comes in and then reads its own, so the filter between the two sees only the first.
steps = [reader(a), SamplerFilter(rate=float(rate_a), seed=0), reader(b)]
if float(rate_b) < 1:
    steps = [reader(b), SamplerFilter(rate=float(rate_b), seed=0), reader(a)]
writer = JsonlWriter(os.path.dirname(out), output_filename=os.path.basename(out), compression=None)
LocalPipelineExecutor([*steps, writer], tasks=1, workers=1, logging_dir=out + ".logs").run()
print(time.perf_counter() - began)
"""


def text_of(patterns: Sequence[str]) -> str:
    """All text of these files, paragraph after paragraph."""
    parts = []
    for pattern in patterns:
        for path in sorted((SHARED / "data").glob(pattern)):
            lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
            parts += [json.loads(line)["text"] for line in lines] if path.suffix == ".jsonl" else lines
    return "\n".join(parts)


def documents(source: str) -> Iterator[bytes]:
    """Endless lines of JSONL: pieces cut at random places, its languages in turn, numbered by `id`."""
    import numpy as np
    import orjson

    random = np.random.default_rng(ord(source))
    texts = {lang: text_of(patterns) for lang, patterns in TEXTS[source].items()}
    number = 0
    while True:
        for lang, text in texts.items():
            length = int(CHARACTERS[source] * (0.5 + random.random()))
            start = int(random.integers(0, max(1, len(text) - length)))
            record = {"text": text[start : start + length], "lang": lang, "source": source, "id": f"{source}{number}"}
            yield orjson.dumps(record) + b"\n"
            number += 1


def make(work: Path, size: int, tokenizer: str) -> None:
    """a.jsonl and b.jsonl, and in NAME.npy the tokens of every document."""
    from itertools import islice

    import numpy as np
    import orjson

    from seatools.text.documents import load_documents

    encoder = load_documents(SHARED / "tokenizers" / tokenizer)
    bytes_per_token = {}
    for source in TEXTS:
        lines = list(islice(documents(source), 500))
        docs = encoder.encode([orjson.loads(line) for line in lines])
        bytes_per_token[source] = sum(map(len, lines)) / sum(len(doc.ids) for doc in docs)
    parts = {"a": bytes_per_token["a"], "b": 3 * bytes_per_token["b"]}
    for source in TEXTS:
        wanted, written, counts, batch = size * parts[source] / sum(parts.values()), 0, [], []
        with (work / f"{source}.jsonl").open("wb") as stream:
            for line in documents(source):
                stream.write(line)
                written += len(line)
                batch.append(orjson.loads(line))
                if len(batch) == 2048 or written >= wanted:
                    counts += [len(doc.ids) for doc in encoder.encode(batch)]
                    batch = []
                if written >= wanted:
                    break
        np.save(work / f"{source}.npy", np.array(counts))


def index_rates(work: Path, tokenizer: str, size: int) -> None:
    """Print the seconds of `build_index` and of the library's batch call for the first `size` bytes of b.jsonl."""
    from itertools import takewhile

    import orjson

    from seatools.mix.document_store import DocumentStore
    from seatools.mix.source_index import build_index
    from seatools.mix.source_reading import BATCH_BYTES, BATCH_DOCS
    from seatools.streams.batches import batches
    from seatools.streams.records import Rejects
    from seatools.streams.source_specs import parse_source
    from seatools.text.documents import load_documents

    encoder = load_documents(SHARED / "tokenizers" / tokenizer)
    part = work / f"index-{size}.jsonl"
    with (work / "b.jsonl").open("rb") as stream, part.open("wb") as out:
        out.writelines(takewhile(lambda _: stream.tell() < size, iter(stream.readline, b"")))
    lines = part.read_bytes().splitlines()
    texts = [
        [orjson.loads(line)["text"] for line in batch]
        for batch in batches(lines, len, max_items=BATCH_DOCS, max_size=BATCH_BYTES)
    ]
    call, found = library_call(encoder.tokenizer), {}
    call(texts[0])
    began = time.perf_counter()
    for batch in texts:
        call(batch)
    found["library_seconds"] = time.perf_counter() - began
    began = time.perf_counter()
    with DocumentStore() as store:
        index = build_index(parse_source(f"b={part}"), store, Rejects(), documents=encoder, quiet=True)
    found["index_seconds"] = time.perf_counter() - began
    print(json.dumps({"kind": encoder.tokenizer.kind, "docs": len(index), "bytes": part.stat().st_size, **found}))


def library_call(tokenizer: Any) -> Callable[[list[str]], Any]:
    """The batch call of the tokenizer's own library, on all cores."""
    engine, cores = tokenizer.engine, len(os.sched_getaffinity(0))
    if tokenizer.kind.startswith("sentencepiece"):
        return lambda texts: engine.Encode(texts, num_threads=cores, out_type=int)
    if tokenizer.kind in ("tiktoken", "tekken"):
        return lambda texts: engine.encode_ordinary_batch(texts, num_threads=cores)
    return lambda texts: engine.encode_batch_fast(texts, add_special_tokens=False)


def ratio(work: Path, out: Path) -> None:
    """Print share of a, by tokens, over all and in the worst window of a million tokens."""
    import numpy as np
    import orjson

    counts = {source: np.load(work / f"{source}.npy") for source in TEXTS}
    tokens, is_a = [], []
    with out.open("rb") as stream:
        for line in stream:
            value = orjson.loads(line)
            id_ = value.get("id") or value["metadata"]["id"]
            tokens.append(int(counts[id_[0]][int(id_[1:])]))
            is_a.append(id_[0] == "a")
    size, of_a = np.array(tokens), np.array(tokens) * np.array(is_a)
    starts = np.searchsorted(np.cumsum(size), np.arange(0, size.sum() - WINDOW, WINDOW))
    worst = None
    if len(starts) > 1:
        shares = np.add.reduceat(of_a, starts)[:-1] / np.add.reduceat(size, starts)[:-1]
        worst = float(np.abs(shares - 0.25).max())
    share = float(of_a.sum() / size.sum())
    print(json.dumps({"docs": len(size), "tokens": int(size.sum()), "share_a": share, "worst_window": worst}))


def child(*arguments: object) -> str:
    """Run a step of this file in a process of its own, as ru_maxrss of a child begins with its parent's."""
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def timed(command: Sequence[object], out: Path | None, inputs: Sequence[Path]) -> dict[str, float]:
    """Run it with the inputs in memory and nothing waiting to be written; `out` (None: made by itself) takes stdout."""
    own_process.settle(inputs)
    with open(out or os.devnull, "wb") as stdout:
        return own_process.timed(command, stdout, cwd=REPOSITORY)


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True, help="where the sources are made and kept; 6 GB for full")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--runs", type=int, default=3, help="the best counts")
    parser.add_argument("--tokenizer", default="mistral-v1-spm", help="of ../shared/tokenizers; counts the mix")
    parser.add_argument("--index-tokenizer", nargs="*", default=["mistral-v1-spm", "qwen2", "gpt-neox-20b"])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--step", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = arguments.work.resolve() / f"{arguments.size}-{arguments.tokenizer}"
    work.mkdir(parents=True, exist_ok=True)
    if arguments.step:
        name, *rest = arguments.step
        if name == "make":
            make(work, SIZES[arguments.size], arguments.tokenizer)
        elif name == "index":
            index_rates(work, rest[0], INDEX_MB[arguments.size] * 1_000_000)
        else:
            ratio(work, Path(rest[0]))
        return
    run(arguments, work)


def run(arguments: argparse.Namespace, work: Path) -> None:
    """All of it, in the folder `work`."""
    here = ("--work", arguments.work, "--size", arguments.size, "--tokenizer", arguments.tokenizer, "--step")
    a, b = work / "a.jsonl", work / "b.jsonl"
    if not (work / "b.npy").exists():
        child(*here, "make")
    num_docs = {path.stem: sum(1 for _ in path.open("rb")) for path in (a, b)}
    size = a.stat().st_size + b.stat().st_size
    print(f"{size:,} bytes, {num_docs} documents", flush=True)
    mix = [
        sys.executable, "-m", "seatools", "mix", f"a={a}:1", f"b={b}:3",
        "--tokenizer", SHARED / "tokenizers" / arguments.tokenizer,
    ]  # fmt: skip
    subprocess.run([*map(str, mix), "-q"], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)  # makes the indexes
    outs = {name: work / f"out-{name}.jsonl" for name in ("cat", "fsync", "stdout", "sea", "datasets", "datatrove")}
    by_docs = num_docs["b"] / 3 / num_docs["a"]  # of a, for 1:3 by documents
    rates = (by_docs, 1.0) if by_docs <= 1 else (1.0, 1 / by_docs)
    cases: dict[str, tuple[list[object], Path | None, Path]] = {
        "cat": (["cat", a, b], outs["cat"], outs["cat"]),
        "cat, fsync": (["sh", "-c", 'cat "$0" "$1" > "$2" && sync "$2"', a, b, outs["fsync"]], None, outs["fsync"]),
        "sea to stdout": (mix, outs["stdout"], outs["stdout"]),
        "sea -o": ([*mix, "-o", outs["sea"], "--force"], None, outs["sea"]),
    }
    inner: dict[str, Path] = {}
    if not arguments.no_peer:
        inner = {name: work / f"{name}.seconds" for name in ("datasets", "datatrove")}
        cache = work / "datasets-cache"
        interleave = [PEER_PYTHON, "-c", DATASETS, a, b, outs["datasets"], cache]
        sample = [PEER_PYTHON, "-c", DATATROVE, a, b, *rates, outs["datatrove"]]
        subprocess.run([*map(str, interleave)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cases["datasets"] = (interleave, inner["datasets"], outs["datasets"])
        cases["datatrove"] = (sample, inner["datatrove"], outs["datatrove"])
    best: dict[str, dict[str, Any]] = {}
    load = os.getloadavg()[0]
    for number in range(arguments.runs):
        for name, (command, stdout, out) in cases.items():
            out.unlink(missing_ok=True)
            remove_logs(out)
            result: dict[str, Any] = timed(command, stdout, [a, b])
            if name in inner:  # without starting and importing
                result["seconds_inside"] = float(inner[name].read_text().split()[-1])
            result["bytes"] = out.stat().st_size
            result["mb_per_second"] = result["bytes"] / result.get("seconds_inside", result["seconds"]) / 1e6
            print(f"  run {number + 1}, {name:<14} {result['mb_per_second']:8.1f} MB/s", flush=True)
            if name not in best or result["mb_per_second"] > best[name]["mb_per_second"]:
                best[name] = result
    ours = best["sea to stdout"]["mb_per_second"]
    for name, result in best.items():
        result["to_cat"] = result["mb_per_second"] / best["cat"]["mb_per_second"]
        result["sea_times_this"] = ours / result["mb_per_second"]
        if not name.startswith("cat"):
            result |= json.loads(child(*here, "ratio", cases[name][2]))
        print(
            f"{name:<14} {result['seconds']:7.2f} s {result['mb_per_second']:8.1f} MB/s "
            f"{result['peak_mb']:6.0f} MB peak; {result['to_cat']:5.2f} x cat; "
            f"sea is {result['sea_times_this']:6.1f} x this"
            + (f"; share of a {result['share_a']:.5f}" if "share_a" in result else "")
            + (
                f", worst million off by {result['worst_window']:.4f}" if result.get("worst_window") is not None else ""
            ),
            flush=True,
        )
    indexes = {}
    for tokenizer in arguments.index_tokenizer:
        tries = [json.loads(child(*here, "index", tokenizer)) for _ in range(arguments.runs)]
        row = {**tries[0], **{key: min(each[key] for each in tries) for key in ("library_seconds", "index_seconds")}}
        row["to_library"] = row["library_seconds"] / row["index_seconds"]
        indexes[tokenizer] = row
        print(
            f"index, {tokenizer}: {row['bytes'] / row['index_seconds'] / 1e6:.1f} MB/s, the library "
            f"{row['bytes'] / row['library_seconds'] / 1e6:.1f}: {row['to_library']:.3f} of its rate",
            flush=True,
        )
    if not arguments.no_record:
        about = {"size": arguments.size, "bytes": size, "docs": num_docs, "tokenizer": arguments.tokenizer}
        record(
            "mix",
            {**about, "runs": arguments.runs, "results": best, "index": indexes, "load": load},
            cores=os.cpu_count(),
        )


def remove_logs(out: Path) -> None:
    """datatrove's marks of what is done, for which it would do nothing the second time."""
    import shutil

    shutil.rmtree(f"{out}.logs", ignore_errors=True)


if __name__ == "__main__":
    main()
