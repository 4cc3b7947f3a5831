"""How fast `sea audit` is, beside the tokenizer libraries' own best batch call, on 10 MB of Thai and English lines.

    python benchmarks/audit.py [--runs 3]

`encode`: documents to arrays of ids as audit does it, beside the library's call alone. `pass`: reading, encoding and
all counting in one process, beside the same call. `command`: `sea audit TOKENIZER th=... en=...` beside a bare script
that loads the tokenizer, reads the files and calls the library, process to process. `fast`: the pass with --fast.
Runs alternate, the best of each is taken; ratios are throughput over the peer's (command: time over the peer's).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from record import record

from seatools.audit.sources import batches
from seatools.audit.text_pass import Audited, Extras, count
from seatools.streams.cores import available_cores
from seatools.streams.records import Rejects
from seatools.text.tokenizer import Tokenizer, load_tokenizer

SHARED = Path(os.environ.get("SEA_SHARED") or Path(__file__).resolve().parents[2] / "shared")
SOURCES = {
    "th": ("mono/th_thaigov.jsonl", "ntrex/tha.txt", "flores200/dev/tha_Thai.txt"),
    "en": ("mono/en_speeches.jsonl", "mono/en_commonvoice.txt", "ntrex/eng.txt", "flores200/dev/eng_Latn.txt"),
}
TOKENIZERS = ("qwen2", "mistral-v1-spm", "o200k-tiktoken")
BYTES = 5_000_000

BARE = """
import sys
kind, model, *files = sys.argv[1:]
texts = [line for file in files for line in open(file, encoding="utf-8").read().split("\\n")[:-1]]
if kind == "sentencepiece":
    from sentencepiece import SentencePieceProcessor
    ids = SentencePieceProcessor(model_file=model).Encode(texts, num_threads=CORES, out_type=int)
elif kind == "tokenizers":
    from tokenizers import Tokenizer
    ids = [encoding.ids for encoding in Tokenizer.from_file(model).encode_batch_fast(texts, add_special_tokens=False)]
else:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    engine = tiktoken.Encoding("x", pat_str=PATTERN, mergeable_ranks=load_tiktoken_bpe(model), special_tokens={})
    ids = engine.encode_ordinary_batch(texts, num_threads=CORES)
print(sum(map(len, ids)))
"""


def lines(lang: str) -> Iterator[str]:
    """The lines of one language, again and again."""
    while True:
        for name in SOURCES[lang]:
            for row in (SHARED / "data" / name).read_text(encoding="utf-8").split("\n"):
                text = json.loads(row)["text"] if row and name.endswith(".jsonl") else row
                yield from (line.strip() for line in text.split("\n") if line.strip())


def write_texts(folder: Path) -> dict[str, Path]:
    """Two files of BYTES each."""
    paths = {}
    for lang in SOURCES:
        paths[lang] = folder / f"{lang}.txt"
        size = 0
        with paths[lang].open("w", encoding="utf-8") as stream:
            for line in lines(lang):
                size += stream.write(line + "\n") and len(line.encode()) + 1
                if size >= BYTES:
                    break
    return paths


def library_call(tokenizer: Tokenizer, texts: list[str]) -> Callable[[], Any]:
    """The best batch call of the engine itself."""
    engine: Any = tokenizer.engine  # type: ignore[attr-defined]
    if tokenizer.kind.startswith("sentencepiece"):
        return lambda: engine.Encode(texts, num_threads=available_cores(), out_type=int)
    if tokenizer.kind == "tiktoken":
        return lambda: engine.encode_ordinary_batch(texts, num_threads=available_cores())
    return lambda: [encoding.ids for encoding in engine.encode_batch_fast(texts, add_special_tokens=False)]


def best(runs: int, cases: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The shortest of `runs` alternating runs of each, in seconds."""
    seconds = dict.fromkeys(cases, float("inf"))
    for _ in range(runs):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds


def in_process(name: str, paths: dict[str, Path], runs: int) -> dict[str, float]:
    """encode, pass and fast beside the library, one process."""
    tokenizer = load_tokenizer(SHARED / "tokenizers" / name)
    sources = [(lang, str(path)) for lang, path in paths.items()]
    texts = [text for _, batch in batches(sources, Rejects(), None) for text in batch]
    parts = [batch for _, batch in batches(sources, Rejects(), None)]
    plain, fast = Audited(tokenizer), Audited(tokenizer, fast=True)
    for one in (plain, fast):
        _ = one.table, one.config

    def whole(audited: Audited) -> None:
        count(batches(sources, Rejects(), None), [audited], Extras(), reference={})

    return best(
        runs,
        {
            "library": library_call(tokenizer, texts),
            "encode": lambda: [plain.encode(part, check=False) for part in parts],
            "pass": lambda: whole(plain),
            "fast": lambda: whole(fast),
        },
    )


def as_processes(name: str, paths: dict[str, Path], folder: Path, runs: int) -> dict[str, float]:
    """The command beside the bare script."""
    tokenizer: Any = load_tokenizer(SHARED / "tokenizers" / name)
    files = [str(path) for path in paths.values()]
    if tokenizer.kind.startswith("sentencepiece"):
        kind, model = "sentencepiece", str(next((SHARED / "tokenizers" / name).glob("*.model")))
    elif tokenizer.kind == "tiktoken":
        kind, model = "tiktoken", str(next((SHARED / "tokenizers" / name).glob("*.tiktoken")))
    else:
        kind, model = "tokenizers", str(folder / f"{name}.json")
        tokenizer.engine.save(model)
    pattern = repr(getattr(tokenizer, "pattern", ""))
    script = BARE.replace("CORES", str(available_cores())).replace("PATTERN", pattern)
    labelled = [f"{lang}={path}" for lang, path in paths.items()]
    command = [sys.executable, "-m", "seatools", "audit", str(SHARED / "tokenizers" / name), *labelled, "--json"]

    def run(arguments: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    cases = {"bare": run([sys.executable, "-c", script, kind, model, *files]), "command": run(command)}
    return best(runs, cases | {"command --fast": run([*command, "--fast"])})


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_texts(folder)
        size = sum(path.stat().st_size for path in paths.values()) / 1e6
        for tokenizer in TOKENIZERS:
            inside = in_process(tokenizer, paths, runs)
            outside = as_processes(tokenizer, paths, folder, runs)
            ratios = {case: inside["library"] / inside[case] for case in ("encode", "pass", "fast")}
            ratios |= {case: outside[case] / outside["bare"] for case in ("command", "command --fast")}
            measured[tokenizer] = {"seconds": inside | outside, "ratio": ratios}
            print(f"{tokenizer}: library {size / inside['library']:.1f} MB/s")
            for case in ("encode", "pass", "fast"):
                print(f"  {case:<16} {size / inside[case]:6.1f} MB/s  {ratios[case]:5.2f} x the library's throughput")
            for case in ("command", "command --fast"):
                print(f"  {case:<16} {outside[case]:6.2f} s     {ratios[case]:5.2f} x the bare script's time")
    record("audit", {"megabytes": size, **measured}, cores=available_cores())


if __name__ == "__main__":
    main()
