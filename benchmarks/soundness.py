"""Every tokenizer of ../shared/tokenizers through `sea vocab-extend`, and the outcome seen by the engines alone.

    python benchmarks/soundness.py [--add 2000] [--work DIR] [--only qwen2] [--pretokenizer marks]

Learned on Thai, Lao and Vietnamese NTREX, English protected; then, without the command's own checks: new tokens that
neither the text nor their own string gives, texts of FLORES dev (not trained on) whose new encoding does not expand to
the base's, that decode otherwise, protected lines that changed, and texts on which sentencepiece, tokenizers,
transformers or tiktoken, each reading the written folder itself, differ. Exits 1 if anything but a refusal is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from record import record
from sea_table import markdown, put
from sea_texts import TOKENIZERS, flores, ntrex, write_documents

from seatools.text.tokenizer import Tokenizer, load_tokenizer

LANGS = ("th", "lo", "vi")
Encode = Callable[[str], list[int]]


def engines(folder: Path, tokenizer: Tokenizer) -> dict[str, Encode]:
    """Every library that reads the folder, by itself."""
    import sentencepiece
    import tiktoken
    import tokenizers
    import transformers

    found: dict[str, Encode] = {}
    for model in folder.glob("*.model"):
        engine = sentencepiece.SentencePieceProcessor(model_file=str(model))
        found["sentencepiece"] = lambda text, engine=engine: engine.encode(text)
    if (folder / "tokenizer.json").exists():
        fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        found["tokenizers"] = lambda text, fast=fast: fast.encode(text, add_special_tokens=False).ids
    for ranks in folder.glob("*.tiktoken"):
        from tiktoken.load import load_tiktoken_bpe

        pattern = getattr(tokenizer, "pattern", "")
        encoding = tiktoken.Encoding(
            "ours", pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(ranks)), special_tokens={}
        )
        found["tiktoken"] = lambda text, encoding=encoding: encoding.encode_ordinary(text)
        return found  # transformers would convert, which is another tokenizer
    try:
        slow = transformers.AutoTokenizer.from_pretrained(str(folder))
        # From a model file alone transformers 5 forgets SentencePiece's dummy prefix.
        prefix = "" if slow.encode("a", add_special_tokens=False) == tokenizer.encode("a") else " "
        found["transformers"] = lambda text, slow=slow: slow.encode(prefix + text, add_special_tokens=False)
    except Exception as error:
        print(f"    transformers does not load {folder}: {str(error).splitlines()[0][:120]}")
    return found


def expand(ids: Sequence[int], pieces: dict[int, list[int]]) -> list[int]:
    """New ids as base ids."""
    return [part for id in ids for part in pieces.get(id, [id])]


def look(base: Tokenizer, folder: Path, protected: list[str]) -> dict[str, Any]:
    """What the engines say of the extended folder."""
    extended = load_tokenizer(folder)
    rows = [json.loads(line) for line in (folder / "new_tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    pieces = {row["id"]: row["pieces"] for row in rows}
    seen: set[int] = set()
    for lang in LANGS:
        for ids in extended.encode_batch(ntrex(lang)):
            seen.update(ids)
    lost = []
    for row in rows:
        data = bytes.fromhex(row["bytes"])
        if row["id"] in seen:
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError:
            # Part of a character: a step on the way to it, which no text shows alone.
            if not any(
                other["bytes"].startswith(row["bytes"]) or row["bytes"] in other["bytes"]
                for other in rows
                if other is not row
            ):
                lost.append(row["token"])
            continue
        # After a line break or a character that joins nothing, for pieces that stand inside a word.
        around = [before + text + after for before in ("", "\n", "\u2603", "(") for after in ("", "\u2603")]
        if not any(row["id"] in ids for ids in extended.encode_batch(around)):
            lost.append(row["token"])
    result = {"new_tokens": len(rows), "unreachable": lost, "expands_otherwise": 0, "decodes_otherwise": 0}
    lines = [line for lang in (*LANGS, "en", "km", "zh") for line in flores(lang)]
    old, new = base.encode_batch(lines), extended.encode_batch(lines)
    for one, two in zip(old, new, strict=True):
        if base.unk_id is not None and base.unk_id in one:
            continue  # a new character mends it
        result["expands_otherwise"] += expand(two, pieces) != one
        result["decodes_otherwise"] += base.decode(one) != extended.decode(two)
    result["lines"] = len(lines)
    english = flores("en")
    result["english_changed"] = sum(
        one != two for one, two in zip(base.encode_batch(english), extended.encode_batch(english), strict=True)
    )
    result["protected_changed"] = sum(
        one != two for one, two in zip(base.encode_batch(protected), extended.encode_batch(protected), strict=True)
    )
    before = engines(Path(base.path), base)
    for name, encode in engines(folder, extended).items():
        result[f"{name}_differs"] = sum(encode(line) != ids for line, ids in zip(lines, new, strict=True))
        if name in before:
            theirs = before[name]
            result[f"{name}_differed"] = sum(theirs(line) != ids for line, ids in zip(lines, old, strict=True))
    return result


def differences(found: dict[str, Any]) -> list[str]:
    """Engine and lines on which it differs from what `sea` loads, after and before."""
    names = [key.removesuffix("_differs") for key in found if key.endswith("_differs")]
    return [f"{name} {found[f'{name}_differs']} ({found.get(f'{name}_differed', '')})" for name in names]


def main() -> None:
    """Extend, look, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--add", type=int, default=2000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="", help="folders whose name has this")
    parser.add_argument("--pretokenizer", default="keep")
    parser.add_argument("--docs", type=Path, help="put the table into this file")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="soundness-"))
    work.mkdir(parents=True, exist_ok=True)
    for lang in LANGS:
        write_documents(work / f"{lang}.jsonl", ntrex(lang))
    protected = ntrex("en", "first")
    write_documents(work / "en.jsonl", protected)
    wrong = 0
    table: list[list[object]] = []
    for base in sorted(path for path in TOKENIZERS.iterdir() if path.is_dir() and path.name != "vectors"):
        if arguments.only not in base.name:
            continue
        out = work / f"{base.name}-{arguments.pretokenizer}"
        command = [sys.executable, "-m", "seatools", "vocab-extend", str(base), "--add", str(arguments.add), "--force"]
        command += [f"{lang}={work / lang}.jsonl" for lang in LANGS]
        command += ["--protect", f"en={work / 'en.jsonl'}", "--pretokenizer", arguments.pretokenizer, "-o", str(out)]
        more: list[str] = []
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode and "--unigram" in ran.stderr:
            more = ["--unigram"]
            ran = subprocess.run([*command, *more], capture_output=True, text=True)
        last = ran.stderr.strip().splitlines()[-3:]
        print(f"{base.name} {' '.join(more)}: exit {ran.returncode}", flush=True)
        found: dict[str, Any] = {"exit": ran.returncode, "unigram": bool(more)}
        if ran.returncode:
            found["said"] = last
            print("    " + "\n    ".join(last))
            table.append([base.name, "refused", *[""] * 6])
            wrong += not any("cannot extend" in line or "supported" in line for line in last)
        else:
            found |= look(load_tokenizer(base), out, protected)
            print(
                "    " + ", ".join(f"{key} {value}" for key, value in found.items() if key not in ("exit", "unigram"))
            )
            table.append(
                [f"{base.name}{', --unigram' if more else ''}", found["new_tokens"], len(found["unreachable"])]
                + [found[key] for key in ("decodes_otherwise", "expands_otherwise", "protected_changed")]
                + ["; ".join(differences(found)), found["english_changed"]]
            )
            bad = len(found["unreachable"]) + found["decodes_otherwise"]
            bad += sum(found[key] > found.get(key[:-1] + "ed", 0) for key in found if key.endswith("_differs"))
            wrong += bool(bad or (found["protected_changed"] and not more))
        record(
            "soundness", {"tokenizer": base.name, "add": arguments.add, "pretokenizer": arguments.pretokenizer, **found}
        )
    heads = [
        "tokenizer",
        "new tokens",
        "unreachable",
        "decoded otherwise",
        "expand otherwise",
        "protected lines changed",
    ]
    tables = {
        "soundness": markdown([*heads, "lines on which an engine differs (before)", "English lines changed"], table)
    }
    print(tables["soundness"])
    if arguments.docs:
        put(arguments.docs, tables)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
