"""The data of tasks: JSONL, and the JSON, TSV and CSV files that data sets are published as.

A JSON file may be one list (M3Exam) or one object (SQuAD); its records are named by their number in the list, as the
files are one line. TSV cells are taken as they stand, but for those that are quoted by pandas' rules as a whole; a
table without a header line is read by the task's `headerless` columns. JSONL and .txt go through streams.records.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from seatools.eval.row_shapes import Shape
from seatools.eval.sources import Named, Source
from seatools.eval.task_parts import TaskFile
from seatools.streams.errors import SeaError
from seatools.streams.inputs import (
    bare_suffix,
    broken_stream,
    is_decompression_error,
    open_input,
    shown,
    shown_together,
)
from seatools.streams.records import BadRecord, Record, RecordReader, Rejects, dump


def read_data(
    named: Sequence[Named], spooled: Mapping[str, str], tasks: Sequence[TaskFile], *, rejects: Rejects,
    shots: bool = False,
) -> list[Source]:  # fmt: skip
    """The records of `--data` (or `--shots-data`) arguments, each with its language.

    Without a label a file's languages are those of its rows (the task's `lang_column`, "lang"), a source for each, or,
    where a row holds all of them, the task's `languages`; else "und". With one, rows of other languages are left out.
    `spooled` says where stdin lies now. Raises SeaError for a file without records.
    """
    sources = []
    for item in named:
        paths = tuple(spooled.get(path, path) for path in item.paths)
        records = [record for path in paths for record in read_records(path, tasks, rejects=rejects)]
        if not records:
            raise SeaError("no records", where=shown_together(paths))
        sources += by_language(item.label, paths, records, tasks, shots)
    return sources


def by_language(
    label: str | None, paths: tuple[str, ...], records: list[Record], tasks: Sequence[TaskFile], shots: bool
) -> list[Source]:
    """A source for each language of `records`, or the one of `label`. Raises SeaError where it has no rows."""
    from seatools.eval.number_formats import base_language

    first = records[0].value
    taken = next((task for task in tasks if _is_row_of(task, first, shots)), None)
    if taken is not None and taken.lang_columns:
        langs = [label] if label else list(taken.languages)
        return [Source(lang, paths, records) for lang in langs]
    column = (taken.lang_column if taken else None) or "lang"
    by_lang: dict[str, list[Record]] = {}
    for record in records:
        own = record.value.get(column)
        by_lang.setdefault(own if isinstance(own, str) and own else label or "und", []).append(record)
    if label is None:
        return [Source(lang, paths, own) for lang, own in by_lang.items()]
    kept = [r for lang, own in by_lang.items() if base_language(lang) == base_language(label) for r in own]
    if not kept:
        raise SeaError(
            f'no rows of the language "{label}"; there are {", ".join(by_lang)}', where=shown_together(paths)
        )
    return [Source(label, paths, kept)]


def _is_row_of(task: TaskFile, value: Mapping[str, Any], shots: bool) -> bool:
    if shots and task.shots.shape is not None:
        return task.shots.shape.fits(value)
    return task.shape_of(value, named=True) is not None


def read_records(path: str, tasks: Sequence[TaskFile], *, rejects: Rejects) -> list[Record]:
    """The records of one file, by its extension."""
    suffix = bare_suffix(path)
    if suffix in (".tsv", ".csv"):
        return _judged(_table(path, suffix, tasks), rejects)
    if suffix == ".json":
        text = _text(path)
        if not _is_jsonl(text):
            return _judged(_json(path, text), rejects)
    return list(RecordReader([path], rejects=rejects))


def _judged(found: Iterator[Record | tuple[BadRecord, str, int]], rejects: Rejects) -> list[Record]:
    records = []
    for one in found:
        if isinstance(one, Record):
            records.append(one)
        else:
            error, path, line = one
            error.where = f"{shown(path)}:{line}"
            rejects.take(error, b"", path, line)
    return records


def _text(path: str) -> str:
    try:
        with open_input(path) as stream:
            return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SeaError(f"invalid UTF-8 at byte {error.start}", where=shown(path)) from error
    except Exception as error:
        if not is_decompression_error(error):
            raise
        raise broken_stream(error, shown(path)) from error


def _is_jsonl(text: str) -> bool:
    """Whether a file of JSON holds one object a line after all."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("{") or not rest.strip():
        return False
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return True


def _json(path: str, text: str) -> Iterator[Record | tuple[BadRecord, str, int]]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SeaError(
            f"broken JSON: {error.msg} at column {error.colno}", where=f"{shown(path)}:{error.lineno}"
        ) from None
    if not isinstance(found, list | dict):
        raise SeaError("neither a JSON list nor an object", where=shown(path), fix="one record a line is .jsonl")
    for number, value in enumerate(found if isinstance(found, list) else [found], 1):
        if not isinstance(value, dict):
            yield BadRecord("not an object", f"a JSON {type(value).__name__}, not an object"), path, number
            continue
        try:
            yield Record(dump(value), value, path, number)
        except TypeError:  # orjson reads 1,024 levels and writes 254
            yield BadRecord("nested too deeply", "nested more than 254 levels deep"), path, number


def _table(path: str, suffix: str, tasks: Sequence[TaskFile]) -> Iterator[Record | tuple[BadRecord, str, int]]:
    rows = _cells(path, _text(path), suffix)
    first = next(rows, None)
    if first is None:
        return
    shapes = [shape for task in tasks for shape in (*task.shapes, *([task.shots.shape] if task.shots.shape else []))]
    columns: Sequence[str] = first[1]
    if not any(_is_header(columns, shape) for shape in shapes):
        headerless = next((shape.headerless for shape in shapes if len(shape.headerless) == len(columns)), None)
        if headerless is not None:
            columns, rows = headerless, _again(first, rows)
    if len(set(columns)) < len(columns):
        raise SeaError("the header names a column twice", where=f"{shown(path)}:{first[0]}")
    for line, cells in rows:
        if len(cells) != len(columns):
            yield BadRecord("bad table", f"{len(cells)} cells, there are {len(columns)} columns"), path, line
            continue
        value = dict(zip(columns, cells, strict=True))
        yield Record(dump(value), value, path, line)


def _is_header(cells: Sequence[str], shape: Shape) -> bool:
    required = {column.name for column in shape.columns if not column.optional}
    return required <= set(cells) or set(shape.headerless) == set(cells)


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _cells(path: str, text: str, suffix: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells), empty lines left out."""
    if suffix == ".tsv":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, [_unquoted(cell) for cell in line.rstrip("\r").split("\t")]
        return
    reader, start = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise SeaError(f"broken CSV: {error}", where=f"{shown(path)}:{reader.line_num}") from None


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell
