"""One document as the model will see it: its tokens as text, special tokens spelled out, what is trained marked.

A wrong chat template or mask cannot be seen in a plan's figures, and is seen here at once. Trained parts are green on
a terminal, and stand between ⟦ and ⟧ elsewhere or where NO_COLOR is set (no-color.org). Control characters other than
line ends are shown by their code, so that no document drives the terminal. Long ones are cut to their ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import orjson

from seatools.mix.source_index import SourceIndex
from seatools.streams.errors import SeaError
from seatools.text.documents import Documents, TokenizedDoc

MAX_LINES, MAX_WIDTH = 20, 120
_OPEN, _CLOSE = "⟦", "⟧"
_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"
Line = list[tuple[str, bool]]
"""Characters, and whether each is trained."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def first_masked(indexes: Sequence[SourceIndex]) -> tuple[SourceIndex, int] | None:
    """The first document of which only a part is trained (a chat, or a prompt and its completion); None if all are
    texts, or no tokenizer counted them."""
    for index in indexes:
        # Of a text every token is trained but the first, which nothing can predict.
        masked = np.flatnonzero(np.asarray(index.num_targets) + np.int64(1) < np.asarray(index.num_tokens))
        if len(masked):
            return index, int(masked[0])
    return None


def rendered_example(index: SourceIndex, doc: int, documents: Documents, *, color: bool) -> str:
    """Document `doc` of a source, in at most 20 lines below a heading."""
    (tokenized,) = documents.encode([orjson.loads(index.line(doc))])
    if isinstance(tokenized, SeaError):
        raise tokenized
    marks = "in green" if color else f"between {_OPEN} and {_CLOSE}"
    head = f"example from {index.spec.name}: {len(tokenized.ids)} tokens, {tokenized.num_targets} trained, {marks}"
    lines = [_shortened(line) for line in _cut(_lines(tokenized, documents))]
    return "\n".join([head, *(_marked(line, color=color) for line in lines)])


def _lines(doc: TokenizedDoc, documents: Documents) -> list[Line]:
    """The text of all tokens, line by line."""
    lines: list[Line] = [[]]
    changes = np.flatnonzero(np.diff(doc.loss_mask)) + 1
    for stretch in np.split(np.arange(len(doc.ids)), changes):
        trained = bool(doc.loss_mask[stretch[0]])
        for character in _spelled(doc.ids[stretch].tolist(), documents):
            if character == "\n":
                lines[-1] += [("\u21b5", True)] if trained else []  # a token like others, and trained like them
                lines.append([])
            else:
                lines[-1].append((character, trained))
    while len(lines) > 1 and not lines[-1]:  # the line end that closes the last turn
        lines.pop()
    return lines


def _spelled(ids: list[int], documents: Documents) -> str:
    """The text of tokens, special ones by their names and control characters by their codes."""
    tokenizer = documents.tokenizer
    spelling = {id: text for text, id in tokenizer.special_ids.items()}
    data = b"".join(spelling[id].encode() if id in spelling else tokenizer.piece_bytes(id) for id in ids)
    return _CONTROL.sub(_code, data.decode("utf-8", "replace"))


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _cut(lines: list[Line]) -> list[Line]:
    """At most MAX_LINES lines, from both ends."""
    if len(lines) <= MAX_LINES:
        return lines
    head = (MAX_LINES - 1) // 2
    tail = MAX_LINES - 1 - head
    return [*lines[:head], _note(f"... {len(lines) - head - tail:,} lines ..."), *lines[-tail:]]


def _shortened(line: Line) -> Line:
    """At most MAX_WIDTH characters and a note between them, from both ends."""
    if len(line) <= MAX_WIDTH:
        return line
    half = MAX_WIDTH // 2
    return [*line[:half], *_note(f" ... {len(line) - 2 * half:,} ... "), *line[-half:]]


def _note(text: str) -> Line:
    return [(character, False) for character in text]


def _marked(line: Line, *, color: bool) -> str:
    opening, closing = (_GREEN, _PLAIN) if color else (_OPEN, _CLOSE)
    parts = []
    for trained, run in groupby(line, key=lambda pair: pair[1]):
        text = "".join(character for character, _ in run)
        parts.append(f"{opening}{text}{closing}" if trained else text)
    return "".join(parts)
