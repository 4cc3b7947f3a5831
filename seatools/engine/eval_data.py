"""`--eval-data th=FILE en=FILE`: held-out text, read and tokenised once, before the model is loaded.

Windows are those of `sea eval MODEL perplexity` by default, whatever the rows of training: the figures are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.text_windows import default_window
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats, shown_together
from seatools.streams.records import RecordReader

if TYPE_CHECKING:
    from seatools.engine.evaluate import EvalSet
    from seatools.text.tokenizer import Tokenizer


# Keys of an evaluation's line in metrics.jsonl, beside which the languages stand.
RESERVED = ("step", "kind", "forgetting", "stage")


def eval_paths(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Files by language. Raises UsageError for an argument without NAME= or with one
    that metrics need, a repeated file, or standard input."""
    named: dict[str, list[str]] = {}
    for argument in arguments:
        label, spec = parse_labelled(argument)
        if not label:
            raise UsageError(f"--eval-data {argument} names no language", fix=f"--eval-data th={argument}")
        if label in RESERVED:
            raise UsageError(f"--eval-data {argument}: metrics.jsonl has {label} already", fix="another name")
        if spec == "-":
            raise UsageError("--eval-data cannot come from standard input", fix="name files")
        named.setdefault(label, []).extend(expand(spec))
    refuse_repeats([path for paths in named.values() for path in paths])
    return named


def read_eval_sets(
    named: dict[str, list[str]], tokenizer: Tokenizer, *, positions: int | None, workers: int = 0
) -> list[EvalSet]:
    """One set a language of the `text` of every record (or lines of .txt files).

    `positions`: the model's longest input, None: not limited. Raises SeaError, with file and line, for a record
    without text or whose text has no tokens, and for a file without records.
    """
    from seatools.engine.evaluate import eval_set  # torch: not for those who only look at the paths

    window, stride = default_window(positions)
    sets = []
    for name, paths in named.items():
        records = list(RecordReader(paths))
        texts = []
        for record in records:
            text = record.value.get("text")
            if not isinstance(text, str):
                raise SeaError("an evaluation record needs `text`", where=record.where)
            texts.append(text)
        if not texts:
            raise SeaError("no records", where=shown_together(paths))
        encoded = tokenizer.encode_batch(texts, workers=workers)
        empty = next((record for record, ids in zip(records, encoded, strict=True) if not ids), None)
        if empty is not None:
            raise SeaError("the tokenizer makes no token of this text", where=empty.where, fix="leave the record out")
        sets.append(
            eval_set(
                name, [np.array(ids, dtype=np.int64) for ids in encoded], [len(text.encode()) for text in texts],
                context_id=tokenizer.context_id, window=window, stride=stride,
            )
        )  # fmt: skip
    return sets
