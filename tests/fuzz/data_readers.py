"""Readers of tables and rules: the data of tasks as JSON, TSV and CSV; quality rules."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tomllib
from pathlib import Path

import orjson
from fuzz.contract import check
from fuzz.layouts import folder_input, write_folder

from seatools.streams.errors import SeaError
from seatools.streams.records import Rejects

_FILES = ("a.json", "a.tsv", "a.csv", "a.jsonl")


def read_items(data: bytes, folder: Path) -> None:
    """The data of tasks: the rows that json and csv find, each with its language; requests of none are lost."""
    from seatools.eval.item_data import by_language, read_records
    from seatools.eval.task_file import load_task

    tasks = [load_task(name) for name in ("mgsm", "sib200", "xcopa")]
    read = 0
    for name in write_folder(data, folder, _FILES):
        rejects = Rejects("skip")
        with contextlib.suppress(SeaError):
            records = read_records(str(folder / name), tasks, rejects=rejects)
            read += len(records)
            text = (folder / name).read_bytes().decode("utf-8-sig", "replace")
            for record in records:
                check(orjson.loads(record.raw) == record.value, "a record's bytes are not its object")
            if name == "a.json" and text.lstrip()[:1] == "[":
                found = [row for row in json.loads(text) if isinstance(row, dict)]
                check(len(found) == len(records) and rejects.total == len(json.loads(text)) - len(found), "lost rows")
            if name == "a.csv":
                rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
                cells = {tuple(record.value.values()) for record in records}
                check(cells <= set(map(tuple, rows)), "cells that csv does not find")
                check(0 <= len(rows) - len(records) - rejects.total <= 1, "lost rows")
            if records:
                sources = by_language(None, (name,), records, tasks, False)
                check(sum(len(source.records) for source in sources) >= len(records), "a record without a language")
            for task in tasks:
                for record in records:
                    task.recognises(record.value)
    if not read:
        raise SeaError("refused")


def read_rules(data: bytes, folder: Path) -> None:
    """`--quality-rules`: limits as tomllib reads them, above ours."""
    from seatools.text.cleaning.quality import load_rules

    (folder / "q.toml").write_bytes(data)
    rules, ours = load_rules(str(folder / "q.toml")), load_rules()
    table = tomllib.loads(data.decode())
    for rule, (least, most) in rules.limits(None).items():
        own = table.get("default", {}).get(rule)
        said = ours.limits(None)[rule] if own is None else ((own or {}).get("min"), (own or {}).get("max"))
        check((least, most) == said, "another limit")
    for text in ("a", "ก" * 300, "a b. " * 60):
        for lang in ("th", None):
            rules.check(text, lang)


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs to begin from, by the reader's name."""
    question = {"question": "q", "answer": "#### 4", "answer_number": 4, "lang": "th"}
    choice = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 0}
    return {
        "items": [
            folder_input({"a.json": json.dumps([question, choice, 3]).encode()}),
            folder_input(
                {"a.tsv": b'q\t4\n"a ""b"""\t5\n\nc\n', "a.csv": b'category,text,index_id\nx,"a\nb",1\ny,c,2\nz\n'}
            ),
            folder_input({"a.json": b'{"a": 1}\n{"b": 2}\n', "a.jsonl": b'{"a": 1}\n[1]\n'}),
        ],
        "rules": [
            b"[default]\nmean_word = {min = 2, max = 12.5}\n[th]\nshort_lines = false\n",
            b"[lo]\nrepeated_lines = {max = 0.3}\n[default]\nletters_share = {min = 0.4}\n",
        ],
    }
