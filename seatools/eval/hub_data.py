"""`--hf LANG`: the rows of a task's own data set, from the Hugging Face hub or a folder laid out as its data sets are.

The package `datasets` reads them, with its cache and its retries; it is asked for only here, and nothing else in sea
needs a network. Sets of which each language is a configuration are read one by one; of those that keep all languages
together (SeaBench) the rows of the language are taken by the task's language column. Data sets made by a script of
their own are refused by `datasets` 4 and later: such rows have to come from a file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from seatools.eval.item_data import by_language
from seatools.eval.sources import Source
from seatools.eval.task_parts import HuggingFace, TaskFile
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.extras import require
from seatools.streams.records import Record

_LOGGERS = ("datasets", "huggingface_hub")


def read_hub(task: TaskFile, langs: Sequence[str], *, path: str | None = None, shots: bool = False) -> list[Source]:
    """The rows of the task's data set (or another of the same columns, `path`), for each language.

    Raises SeaError without the package `datasets`, without a network, for a split or a configuration that is not there.
    """
    if task.hf is None:
        raise UsageError(f"{task.name} names no data set on the hub", fix="--data LANG=FILE")
    path = path or task.hf.path
    split = task.hf.shots_split if shots else task.hf.split
    if split is None:
        raise UsageError(f"{path} has no split for shots", fix="--shots-data LANG=FILE")
    datasets = require("datasets")
    datasets.disable_progress_bars()
    sources = []
    for lang in langs:
        config = _config(task.hf, lang)
        name = f"hf:{path}/{config or 'default'}/{split}"
        try:
            with _quiet():
                rows: list[dict[str, Any]] = [dict(row) for row in datasets.load_dataset(path, config, split=split)]
        except Exception as error:  # the package raises what it likes: ValueError, OSError, ConnectionError, its own
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            offline = "is the machine online? else " if isinstance(error, ConnectionError) else ""
            raise SeaError(f"the hub gives no rows: {said}", where=name, fix=f"{offline}--data LANG=FILE") from error
        records = [Record(orjson.dumps(row, default=str), row, name, number) for number, row in enumerate(rows, 1)]
        if not records:
            raise SeaError("no records", where=name)
        if config is None:
            sources += by_language(lang, (name,), records, [task], shots)
        else:
            sources.append(Source(lang, (name,), records))
    return sources


def _config(hf: HuggingFace, lang: str) -> str | None:
    if lang in hf.configs:
        return str(hf.configs[lang])
    return None if hf.config is None else hf.config.render({"lang": lang})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a line on stderr for each retry; what fails comes as an error."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
