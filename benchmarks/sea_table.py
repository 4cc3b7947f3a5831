"""SeaLLMs' compression table (arXiv 2312.00738, Table 1) for `sea vocab-extend`, on text that was not trained on.

    python benchmarks/sea_table.py [--work DIR] [--only qwen2] [--add 16384] [--docs docs/vocab-extend.md]

Each cell: tokens of FLORES-200 dev in the language over cl100k's tokens of its English (ratio of sums). Trained on all
other text of ../shared/data (`sea_texts.py`), English, French and German protected with half of NTREX and what else
there is. DIR keeps what was made, and a run whose report is there is not run again. The paper does not name its text;
its "ChatGPT" column is what the GPT-2 tokenizer gives on FLORES dev (within 3 %, Chinese aside), not cl100k.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import record
from sea_texts import LANGUAGES, TOKENIZERS, flores, ntrex, training, write_documents

from seatools.text.tokenizer import Tokenizer, load_tokenizer
from seatools.text.zawgyi import to_unicode

PAPER = {  # language -> ChatGPT, Llama-2, SeaLLM
    "th": (9.09, 5.10, 1.87), "lo": (13.29, 13.50, 2.07), "km": (15.56, 12.14, 2.67), "my": (17.11, 9.85, 1.93),
    "vi": (4.41, 3.46, 1.48), "id": (2.00, 2.09, 1.36), "ms": (2.07, 2.16, 1.50), "tl": (2.28, 2.22, 1.91),
}  # fmt: skip
PROTECTED = ("en", "fr", "de")
BYSTANDERS = ("zh", "ja", "ru", "ta")
REFERENCES = ("cl100k-tiktoken", "gpt2-tiktoken")
AMOUNTS = (25, 50)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of `sea vocab-extend`."""

    base: str
    method: str = "continue"
    pretokenizer: str = "keep"
    protect: bool = True
    amount: int = 100
    """Per cent of the documents."""
    half: str = "both"
    """Which documents of NTREX are trained on."""

    @property
    def name(self) -> str:
        parts = [self.method, self.pretokenizer]
        parts += [] if self.protect else ["no protect"]
        parts += [f"{self.amount} %"] if self.amount != 100 else []
        parts += ["half of NTREX"] if self.half != "both" else []
        return ", ".join(parts)


def runs() -> list[Run]:
    """Everything in the tables."""
    planned = []
    for base in ("mistral-v1-spm", "qwen2", "o200k-tiktoken"):
        methods = ("continue", "merge") if base.startswith("o200k") else ("continue", "donor", "merge")
        for cutting in ("keep", "marks") if base == "qwen2" else ("keep",):
            planned += [Run(base=base, method=method, pretokenizer=cutting) for method in methods]
            planned.append(Run(base=base, pretokenizer=cutting, protect=False))
    for base, cutting in (("mistral-v1-spm", "keep"), ("qwen2", "marks")):
        planned += [Run(base=base, pretokenizer=cutting, amount=amount) for amount in AMOUNTS]
        planned.append(Run(base=base, pretokenizer=cutting, half="first"))
    return planned


def prepare(work: Path) -> dict[str, int]:
    """Write the texts; the bytes of each."""
    sizes = {}
    for half in ("both", "first"):
        for lang in LANGUAGES:
            documents = training(lang, half=half)
            for amount in (*AMOUNTS, 100) if half == "both" else (100,):
                name = f"{lang}-{half}-{amount}"
                sizes[name] = write_documents(work / f"{name}.jsonl", documents[:: 100 // amount])
    for lang in PROTECTED:
        sizes[lang] = write_documents(work / f"{lang}.jsonl", training(lang, half="first"))
    return sizes


def extend(run: Run, work: Path, add: int) -> tuple[Path, dict[str, Any]]:
    """The extended tokenizer and the report of a run, made if it is not there."""
    folder = work / re.sub(r"\W+", "-", f"{run.base} {run.name} {add}")
    report = folder / "report.json"
    if not report.exists():
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "seatools", "vocab-extend", str(TOKENIZERS / run.base)]
        command += [f"{lang}={work / f'{lang}-{run.half}-{run.amount}.jsonl'}" for lang in LANGUAGES]
        command += ["--add", str(add), "--method", run.method, "--pretokenizer", run.pretokenizer]
        command += ["--donor", str(TOKENIZERS / "o200k-tiktoken")] if run.method == "donor" else []
        command += ["--protect", ",".join(f"{lang}={work / lang}.jsonl" for lang in PROTECTED)] if run.protect else []
        command += ["--normalize", "zawgyi", "--report", str(folder / "unfinished.json"), "--force", "-q"]
        command += ["-o", str(folder / "tokenizer")]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        body = json.loads((folder / "unfinished.json").read_text())
        body["seconds"] = time.perf_counter() - began
        report.write_text(json.dumps(body))
    return folder / "tokenizer", json.loads(report.read_text())


def total(tokenizer: Tokenizer, lines: Sequence[str]) -> int:
    """Tokens of all lines."""
    return sum(map(len, tokenizer.encode_batch(lines)))


def drift_texts() -> dict[str, list[str]]:
    """Text that no run saw, by name: of protected languages, and of languages that nobody named."""
    texts = {"en FLORES": flores("en")} | {f"{lang} NTREX": ntrex(lang, "second") for lang in PROTECTED}
    return texts | {f"{lang} FLORES": flores(lang) for lang in BYSTANDERS}


def drift(base: Tokenizer, extended: Tokenizer, lines: Sequence[str]) -> dict[str, float]:
    """Share of the lines with other ids, and tokens after over before."""
    old, new = base.encode_batch(lines), extended.encode_batch(lines)
    changed = sum(one != two for one, two in zip(old, new, strict=True))
    return {"changed": changed / len(lines), "tokens": sum(map(len, new)) / sum(map(len, old))}


def held_out(lang: str) -> list[str]:
    """The half of NTREX that a run with `half="first"` did not see, in Unicode."""
    return [to_unicode(line) for line in ntrex(lang, "second")] if lang == "my" else ntrex(lang, "second")


def measure(run: Run, work: Path, add: int, english: Mapping[str, int], base: Tokenizer) -> dict[str, Any]:
    """One row of the tables."""
    folder, report = extend(run, work, add)
    extended = load_tokenizer(folder)
    tokens = {lang: total(extended, flores(lang)) for lang in LANGUAGES}
    row = {
        "base": run.base,
        "run": run.name,
        "ratio": {lang: tokens[lang] / english["flores"] for lang in LANGUAGES},
        "bytes_per_token": {lang: sum(len(line.encode()) for line in flores(lang)) / tokens[lang] for lang in tokens},
        "drift": {name: drift(base, extended, lines) for name, lines in drift_texts().items()},
        "training_bytes": {lang: found["num_bytes"] for lang, found in report["languages"].items()},
        "seconds": report["seconds"],
    } | {key: report[key] for key in ("new_tokens", "spent", "exhausted", "only_inside_longer_ones", "checks")}
    row["ntrex_ratio"] = {
        lang: (total(base, held_out(lang)) / english["ntrex"], total(extended, held_out(lang)) / english["ntrex"])
        for lang in (LANGUAGES if run.half == "first" else ())
    }
    return row


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is text."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def compression_table(before: Mapping[str, Mapping[str, float]], rows: Sequence[dict[str, Any]]) -> str:
    """The paper's table and ours; bold where the ratio is under the paper's SeaLLM column."""

    def cells(ratios: Mapping[str, float]) -> list[str]:
        return [
            f"**{ratios[lang]:.2f}**" if ratios[lang] < PAPER[lang][2] else f"{ratios[lang]:.2f}" for lang in LANGUAGES
        ]

    table: list[list[object]] = [
        [f"paper: {name}", *(f"{PAPER[lang][at]:.2f}" for lang in LANGUAGES), ""]
        for at, name in enumerate(("ChatGPT", "Llama-2", "SeaLLM"))
    ]
    table += [[f"{name}, as it is", *cells(before[name]), ""] for name in REFERENCES]
    for base in dict.fromkeys(row["base"] for row in rows):
        table.append([f"{base}, as it is", *cells(before[base]), ""])
        table += [
            [f"{base}: {row['run']}", *cells(row["ratio"]), f"{row['new_tokens']:,}"]
            for row in rows
            if row["base"] == base and " %" not in row["run"] and "half" not in row["run"]
        ]
    return markdown(["tokenizer", *LANGUAGES, "new tokens"], table)


def beaten_table(rows: Sequence[dict[str, Any]]) -> str:
    """Per language: SeaLLM's ratio, ours with the default method, and whether it is lower."""
    main = [row for row in rows if row["run"] in ("continue, keep", "continue, marks")]
    table = []
    for lang in LANGUAGES:
        ours = [row["ratio"][lang] for row in main]
        size = main[0]["training_bytes"][lang]
        verdicts = [f"{ratio:.2f} {'yes' if ratio < PAPER[lang][2] else 'no'}" for ratio in ours]
        table.append([lang, f"{size / 1e6:.2f}", f"{PAPER[lang][2]:.2f}", *verdicts])
    heads = [f"{row['base']}, {row['run'].split(', ')[1]}" for row in main]
    return markdown(["language", "training MB", "SeaLLM", *heads], table)


def amount_table(rows: Sequence[dict[str, Any]]) -> str:
    """The ratio by amount of training text."""
    table = []
    for base, cutting in dict.fromkeys(
        (row["base"], row["run"].split(", ")[1]) for row in rows if row["run"].endswith("%")
    ):
        main = f"continue, {cutting}"
        for name in (*(f"{main}, {amount} %" for amount in AMOUNTS), main):
            for row in (row for row in rows if (row["base"], row["run"]) == (base, name)):
                cells = [f"{row['ratio'][lang]:.2f} ({row['training_bytes'][lang] / 1e6:.2f})" for lang in LANGUAGES]
                table.append([f"{base}, {row['run']}", *cells])
    return markdown(["run", *LANGUAGES], table)


def held_out_table(rows: Sequence[dict[str, Any]]) -> str:
    """Before and after on the half of NTREX that was not trained on."""
    table = [
        [f"{row['base']}, {row['run']}", *(f"{old:.2f} > {new:.2f}" for old, new in row["ntrex_ratio"].values())]
        for row in rows
        if row["ntrex_ratio"]
    ]
    return markdown(["run", *LANGUAGES], table)


def drift_table(rows: Sequence[dict[str, Any]]) -> str:
    """Lines that changed, and the change in tokens, in text that no run saw."""
    table = [
        [f"{row['base']}: {row['run']}"]
        + [f"{100 * cell['changed']:.1f} ({100 * cell['tokens'] - 100:+.1f})" for cell in row["drift"].values()]
        for row in rows
        if " %" not in row["run"]
    ]
    return markdown(["run", *drift_texts()], table)


def put(path: Path, tables: Mapping[str, str]) -> None:
    """Put each table between its marks in the file."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        marks = (f"<!-- {name} -->\n", f"\n<!-- end {name} -->")
        start, end = (text.index(mark) for mark in marks)
        text = text[: start + len(marks[0])] + table + text[end:]
    path.write_text(text, encoding="utf-8")


def measured_rows(
    wanted: Callable[[Run], bool], work: Path, add: int, english: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """A row for each wanted run, told as it comes."""
    bases: dict[str, Tokenizer] = {}
    for run in filter(wanted, runs()):
        base = bases.setdefault(run.base, load_tokenizer(TOKENIZERS / run.base))
        row = measure(run, work, add, english, base)
        ratios = " ".join(f"{lang} {ratio:.2f}" for lang, ratio in row["ratio"].items())
        print(f"{run.base}: {run.name}: {row['seconds']:.0f} s, {row['new_tokens']:,} tokens, {ratios}", flush=True)
        yield row


def main() -> None:
    """Extend, measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="", help="bases or runs whose name has this")
    parser.add_argument("--add", type=int, default=16384)
    parser.add_argument("--docs", type=Path, help="put the tables into this file")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="sea-table-"))
    work.mkdir(parents=True, exist_ok=True)
    for name, size in prepare(work).items():
        print(f"{name:<14} {size:>12,} bytes")
    reference = load_tokenizer(TOKENIZERS / REFERENCES[0])
    english = {"flores": total(reference, flores("en")), "ntrex": total(reference, ntrex("en", "second"))}
    rows = list(measured_rows(lambda run: arguments.only in f"{run.base}: {run.name}", work, arguments.add, english))
    names = [*REFERENCES, *dict.fromkeys(row["base"] for row in rows)]
    before = {}
    for name in names:
        tokenizer = load_tokenizer(TOKENIZERS / name)
        before[name] = {lang: total(tokenizer, flores(lang)) / english["flores"] for lang in LANGUAGES}
    tables = {
        "compression": compression_table(before, rows),
        "beaten": beaten_table(rows),
        "drift": drift_table(rows),
        "amount": amount_table(rows),
        "held-out": held_out_table(rows),
    }
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    for row in rows:
        record("sea_table", {"add": arguments.add, "before": before[row["base"]], **row})
    if arguments.docs:
        put(arguments.docs, tables)


if __name__ == "__main__":
    main()
