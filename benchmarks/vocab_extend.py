"""Time and memory of `sea vocab-extend` beside continued BPE in Python and the trainers from scratch, in one run.

    python benchmarks/vocab_extend.py [--base qwen2] [--add 8000] [--megabytes 100] [--novel] [--marks]
                                      [--peers .venv-peers] [--tokenizer-extension CHECKOUT]

Ours is the whole command as a user types it: counting, learning, writing, all checks. Peers, same text and as many new
tokens: BpeTrainer of `tokenizers` (the base's pre-tokenizer, from bytes; it extends nothing), sentencepiece's BPE
trainer, and `train_vocab_extension` of tokenizer-extension, which does what we do; that one gets slices (--slices) and,
with --peer-in-full, all of it. Text: words of ../shared/data in eight languages, drawn with a fixed seed; --novel cuts
and joins words, so that distinct ones grow with the text. Runs follow each other in turn, never side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from record import record
from sea_texts import LANGUAGES, TOKENIZERS, training

SHARES = {"vi": 0.30, "id": 0.22, "th": 0.20, "tl": 0.08, "ms": 0.06, "my": 0.06, "km": 0.05, "lo": 0.03}
NOVEL = {"th": 0.3, "lo": 0.3, "km": 0.3, "my": 0.3}  # share of new words; where no spaces stand a "word" is a phrase
NOVEL_SPACED = 0.03
# What the processes say of how far they are: `sea -v`, and the bars of tokenizer-extension.
STAGE = re.compile(r"distinct words$|^checking|new tokens \(|frequencies: 0it|training: +(0|100)%")
LINE = 3000  # bytes: sentencepiece skips lines over 4192


def words_of(lang: str) -> list[str]:
    """The words of a language in running order, repeats and all; long phrases in pieces a line can hold."""
    words = " ".join(training(lang, legacy=False)).split()
    return [word[at : at + 200] for word in words for at in range(0, len(word), 200)]


def joined(one: str, two: str, draw: random.Random) -> str:
    """The head of one word and the tail of another; no cut before a combining mark."""
    cuts = [
        [at for at in range(1, len(word)) if not unicodedata.category(word[at]).startswith("M")] or [len(word)]
        for word in (one, two)
    ]
    return one[: draw.choice(cuts[0])] + two[draw.choice(cuts[1]) :]


def write_text(path: Path, lang: str, num_bytes: int, *, novel: bool) -> dict[str, int]:
    """Lines of words drawn from the language's text; bytes, words and distinct words written."""
    draw = random.Random(f"{lang} {novel}")
    words = words_of(lang)
    share = NOVEL.get(lang, NOVEL_SPACED) if novel else 0.0
    written = num_words = 0
    distinct: set[str] = set()
    with open(path, "w", encoding="utf-8") as stream:
        while written < num_bytes:
            line: list[str] = []
            size = 0
            for word in draw.choices(words, k=400):
                if share and draw.random() < share:
                    word = joined(word, draw.choice(words), draw)
                size += len(word.encode()) + 1
                if size > LINE:
                    break
                line.append(word)
            stream.write(" ".join(line) + "\n")
            written += min(size, LINE)
            num_words += len(line)
            distinct.update(line)
    return {"bytes": path.stat().st_size, "words": num_words, "distinct_words": len(distinct)}


# What a peer's process runs, in its own environment: `python vocab_extend.py --child NAME BASE ADD OUT TEXT...`.


def train_tokenizers(base: Path, add: int, out: Path, texts: list[str]) -> None:
    """`tokenizers` from scratch, with the base's kind of pre-tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if (base / "tokenizer.json").exists():
        theirs = Tokenizer.from_file(str(base / "tokenizer.json"))
        if theirs.normalizer is not None:
            tokenizer.normalizer = theirs.normalizer
        tokenizer.pre_tokenizer = theirs.pre_tokenizer
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + add, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train(texts, trainer)
    tokenizer.save(str(out / "tokenizer.json"))
    print(tokenizer.get_vocab_size())


def train_sentencepiece(base: Path, add: int, out: Path, texts: list[str]) -> None:
    """sentencepiece's BPE trainer from scratch."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        input=texts, model_prefix=str(out / "sentencepiece"), model_type="bpe", vocab_size=259 + add,
        byte_fallback=True, num_threads=os.cpu_count(), minloglevel=1,
    )  # fmt: skip
    print(259 + add)


def train_tokenizer_extension(base: Path, add: int, out: Path, texts: list[str]) -> None:
    """tokenizer-extension as its README has it."""
    from tokenizer_extension.train_vocab_extension import train_vocab_extension
    from tokenizer_extension.utils import write_json
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    lines = (line for path in texts for line in Path(path).read_text(encoding="utf-8").split("\n"))
    made = train_vocab_extension(tokenizer=tokenizer, corpus=lines, extension_size=add, is_sentencepiece=False)
    write_json(made["vocab"], out / "vocab.json")
    write_json([" ".join(pair) for pair in made["merges"]], out / "merges.json")
    print(len(made["vocab"]))


CHILDREN = {
    "tokenizers": train_tokenizers,
    "sentencepiece": train_sentencepiece,
    "tokenizer-extension": train_tokenizer_extension,
}


def resident_mb(session: int) -> float:
    """Resident memory of all processes of a session, in MB; pages that they share count for each."""
    pages = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    pages += int(fields[21])
            except (OSError, IndexError, ValueError):
                continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(command: Sequence[str], *, limit: float, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run it: seconds, CPU seconds, peak MB of the largest process and of all together, what it said and when."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env
        )
        said: list[tuple[float, str]] = []
        peak = 0.0

        def listen() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                said.append((round(time.perf_counter() - began, 1), line.rstrip().rpartition("\r")[2]))

        listener = threading.Thread(target=listen)
        listener.start()
        late = False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, resident_mb(process.pid))
            if time.perf_counter() - began > limit and not late:
                late = True
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        listener.join()
        output.seek(0)
        words = output.read().split()
    if process.returncode and not late:
        sys.stderr.write("\n".join(line for _, line in said[-20:]) + "\n")
        raise SystemExit(f"failed ({process.returncode}): {' '.join(command[:6])} ...")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "largest_process_mb": usage.ru_maxrss / 1e3,
        "peak_mb": max(peak, usage.ru_maxrss / 1e3),
        "late": late,
        "said": said,
        "tokens": int(words[-1]) if words and words[-1].isdigit() else None,
    }


def ours(base: Path, add: int, out: Path, texts: dict[str, Path], more: Sequence[str], limit: float) -> dict[str, Any]:
    """`sea vocab-extend`, whole."""
    command = [sys.executable, "-m", "seatools", "vocab-extend", str(base), "--add", str(add), "-v", "--force"]
    command += ["-o", str(out / "sea"), *more, *(f"{lang}={path}" for lang, path in texts.items())]
    result = timed(command, limit=limit)
    if not result["late"]:
        result["tokens"] = (out / "sea" / "new_tokens.jsonl").read_bytes().count(b"\n")
    return result


def peer(
    name: str,
    python: Path,
    base: Path,
    add: int,
    out: Path,
    texts: dict[str, Path],
    checkout: Path | None,
    limit: float,
) -> dict[str, Any]:
    """A peer in its own environment."""
    env = {**os.environ, "PYTHONPATH": str(checkout or ""), "TOKENIZERS_PARALLELISM": "true"}
    command = [str(python), __file__, "--child", name, str(base), str(add), str(out), *map(str, texts.values())]
    return timed(command, limit=limit, env=env)


def base_for_peers(name: str, folder: Path, *, marks: bool) -> Path:
    """The base as a folder that tokenizers and transformers load, with the changed pre-tokenizer if `marks`."""
    from seatools.text.huggingface_json import JsonTokenizer
    from seatools.text.marks import pre_tokenizer_with_marks
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(TOKENIZERS / name)
    if not isinstance(tokenizer, JsonTokenizer):
        return TOKENIZERS / name
    parsed = dict(tokenizer.json_model)
    if marks:
        parsed["pre_tokenizer"] = pre_tokenizer_with_marks(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(parsed), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def corpus(folder: Path, megabytes: float, *, novel: bool) -> tuple[dict[str, Path], dict[str, Any]]:
    """A file for each language, and what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, about = {}, {}
    for lang in LANGUAGES:
        paths[lang] = folder / f"{lang}.txt"
        about[lang] = write_text(paths[lang], lang, int(SHARES[lang] * megabytes * 1e6), novel=novel)
    total = {key: sum(found[key] for found in about.values()) for key in ("bytes", "words", "distinct_words")}
    return paths, total


def show(name: str, megabytes: float, result: dict[str, Any], ratios: dict[str, float]) -> None:
    """A few lines on the terminal."""
    print(
        f"{name:<20} {megabytes:>4.0f} MB {result['seconds']:>7.1f} s ({ratios['seconds_ratio']:5.2f} x) "
        f"{result['cpu_seconds']:>7.1f} CPU s ({ratios['cpu_seconds_ratio']:5.2f} x) {result['peak_mb']:>6.0f} MB peak"
        f"{'  STOPPED at the limit' if result['late'] else ''}"
    )
    for seconds, line in result["stages"]:
        print(f"    {seconds:>6.1f} s  {line[:100]}", flush=True)


def measure(arguments: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """Every run, ours before its peers at each size."""
    base = TOKENIZERS / arguments.base
    more = [*arguments.more, *(["--pretokenizer", "marks"] if arguments.marks else [])]
    theirs = base_for_peers(arguments.base, work / "base", marks=arguments.marks)
    checkout = arguments.tokenizer_extension
    python = arguments.peers / "bin" / "python"
    sizes = sorted({*arguments.slices, arguments.megabytes} if checkout else {arguments.megabytes})
    if not python.exists():
        print(f"SKIPPED: every peer, for there is no {python} (make peers)")
    if checkout is None:
        print("SKIPPED: tokenizer-extension (give --tokenizer-extension CHECKOUT or TOKENIZER_EXTENSION)")
    for megabytes in sizes:
        texts, about = corpus(work / f"{megabytes:g}", megabytes, novel=arguments.novel)
        print(f"\n{about['bytes']:,} bytes, {about['words']:,} words, {about['distinct_words']:,} of them distinct")
        full = megabytes == arguments.megabytes
        names = [name for name in ("tokenizers", "sentencepiece") if full and python.exists()]
        if checkout and python.exists() and (not full or arguments.peer_in_full):
            names.append("tokenizer-extension")
        best: dict[str, dict[str, Any]] = {}
        names = ["sea", *names]
        for number in range(arguments.runs):
            for name in names if number < arguments.slow_runs else [n for n in names if n != "tokenizer-extension"]:
                out = work / name
                out.mkdir(exist_ok=True)
                if name == "sea":
                    result = ours(base, arguments.add, out, texts, more, arguments.limit)
                else:
                    result = peer(
                        name, python, theirs, arguments.add, out, texts,
                        checkout if name == "tokenizer-extension" else None, arguments.limit,
                    )  # fmt: skip
                result["stages"] = [(at, line) for at, line in result.pop("said") if STAGE.search(line)]
                # The fastest by CPU time: on a machine that others use the clock says more of them.
                if name not in best or result["cpu_seconds"] < best[name]["cpu_seconds"]:
                    best[name] = result
        first = best["sea"]
        for name, result in best.items():
            ratios = {f"{key}_ratio": result[key] / first[key] for key in ("seconds", "cpu_seconds", "peak_mb")}
            show(name, megabytes, result, ratios)
            yield {"name": name, "megabytes": megabytes, **about, **ratios, **result}


def main() -> None:
    """Measure, print, record."""
    if sys.argv[1:2] == ["--child"]:
        name, base, add, out, *texts = sys.argv[2:]
        return CHILDREN[name](Path(base), int(add), Path(out), texts)
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="qwen2", help="a folder of ../shared/tokenizers")
    parser.add_argument("--add", type=int, default=8000)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--novel", action="store_true", help="new words throughout")
    parser.add_argument("--marks", action="store_true", help="--pretokenizer marks, for the peers too")
    parser.add_argument("--slices", type=float, nargs="*", default=[5, 10], help="sizes for tokenizer-extension, MB")
    parser.add_argument("--peer-in-full", action="store_true", help="tokenizer-extension on all of the text too")
    parser.add_argument("--peers", type=Path, default=Path(__file__).resolve().parents[1] / ".venv-peers")
    parser.add_argument("--tokenizer-extension", type=Path, default=os.environ.get("TOKENIZER_EXTENSION"))
    parser.add_argument("--runs", type=int, default=1, help="in turn; the best counts")
    parser.add_argument("--slow-runs", type=int, default=1, help="of tokenizer-extension")
    parser.add_argument("--limit", type=float, default=1800, help="seconds a run may take")
    parser.add_argument("--work", type=Path, help="folder for text and output")
    parser.add_argument("more", nargs="*", help="after --: more options of sea vocab-extend")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="vocab-extend-"))
    load = os.getloadavg()[0]
    rows = list(measure(arguments, work))
    slices = [row for row in rows if row["name"] == "tokenizer-extension" and not row["late"]]
    estimate = None
    if len(slices) >= 2 and not any(row["megabytes"] == arguments.megabytes for row in slices):
        (x0, y0), (x1, y1) = ((row["megabytes"], row["seconds"]) for row in slices[-2:])
        estimate = y1 + (arguments.megabytes - x1) * (y1 - y0) / (x1 - x0)
        ours_seconds = next(r["seconds"] for r in rows if r["name"] == "sea" and r["megabytes"] == arguments.megabytes)
        print(
            f"\ntokenizer-extension at {arguments.megabytes:g} MB, on the line through its last two slices (not "
            f"measured): {estimate:.0f} s, {estimate / ours_seconds:.1f} x"
        )
    settings = {key: getattr(arguments, key) for key in ("base", "add", "megabytes", "novel", "marks", "more")}
    record(
        "vocab_extend",
        {**settings, "results": rows, "estimate_seconds": estimate},
        cores=os.cpu_count(), load_before=load,
    )  # fmt: skip


if __name__ == "__main__":
    main()
