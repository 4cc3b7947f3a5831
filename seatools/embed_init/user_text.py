"""The text that `focus` and `distill` learn from (`--text`), as token ids of the new tokenizer.

Memory: 4 bytes a token; `--max-tokens` bounds what is read of each language.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seatools.streams.batches import record_batches
from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats
from seatools.streams.records import RecordReader, check_text
from seatools.text.tokenizer import Tokenizer


def text_files(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`[LANG=]GLOB` arguments as language -> files ("" without a label). Errors: as `expand`; a file named twice."""
    files: dict[str, list[str]] = {}
    for argument in arguments:
        lang, spec = parse_labelled(argument)
        files.setdefault(lang or "", []).extend(expand(spec))
    refuse_repeats([path for paths in files.values() for path in paths])
    return files


def token_documents(files: dict[str, list[str]], tokenizer: Tokenizer, max_tokens: int) -> list[np.ndarray]:
    """A document's ids uint32 [n] each, at most about `max_tokens` of a language: whole documents until it is full."""
    documents: list[np.ndarray] = []
    for paths in files.values():
        left = max_tokens
        for records in record_batches(RecordReader(paths, check=check_text)):
            for ids in tokenizer.encode_batch([record.value["text"] for record in records]):
                if left > 0:
                    documents.append(np.array(ids, dtype=np.uint32))
                    left -= len(ids)
            if left <= 0:
                break
    if not any(map(len, documents)):
        raise SeaError("--text: no text in these files", fix="JSONL with a text field, or .txt, a document a line")
    return documents
