"""Text cut into tokens, as HTML that any text may stand in.

Each token is a box of its own, so no letter joins over its edge. Bytes of a character that a token cuts are shown in
hexadecimal; a token that begins with a mark of the letter before it has it on a dotted circle; characters that would
not be seen, or would move others about (controls, direction marks, private use), by name or code point; a token of no
bytes by its name. What is shown is always the tokenizer's own ids.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from html import escape

from seatools.text.graphemes import Characters
from seatools.text.piece_table import PieceTable

_SHOWN_AS = {" ": "\u00b7", "\n": "\u21b5", "\t": "\u2192"}
_HIDDEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
_NAMES = {"\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u2060": "WJ", "\u00ad": "SHY", "\ufeff": "BOM"}
_HARMLESS = "\u200b\u200c\u200d\u2060\u00ad"  # where text breaks and joins
_NEAREST_SPACE = 20  # clusters before the end of an excerpt in which a space is looked for


def excerpt(text: str, num_clusters: int) -> tuple[str, bool]:
    """The beginning of `text`, and whether it is all: whole grapheme clusters, up to a white space if one is near."""
    head = text[: 20 * num_clusters]
    starts = Characters(head).begins_cluster().nonzero()[0].tolist() if head else []
    if len(starts) <= num_clusters:
        return head, len(head) == len(text)
    end = starts[num_clusters]
    if not text[end].isspace():
        near = [
            start for start in starts[max(0, num_clusters - _NEAREST_SPACE) : num_clusters] if head[start].isspace()
        ]
        end = near[-1] if near and near[-1] else end
    return head[:end], False


def plain_html(text: str) -> str:
    """Text for reading, white space as it is."""
    return "".join(_character(char, whole=True) for char in text)


def cut_html(ids: Sequence[int], table: PieceTable, marked: Collection[int] = ()) -> str:
    """A `<span>` a token; those at the places `marked` have a class."""
    boxes = []
    for place, id in enumerate(ids):
        name = ' class="n"' if place in marked else ""
        boxes.append(f'<span{name} title="id {id}">{_token(id, table)}</span>')
    return "".join(boxes)


Spans = list[tuple[int, int]]


def byte_spans(ids: Sequence[int], table: PieceTable, text: str) -> Spans | None:
    """[tokens] (begin, end) in the bytes of `text`; None where the pieces are not it (after one space at most)."""
    joined = b"".join(table.pieces[id] for id in ids)
    data = text.encode()
    extra = len(joined) - len(data)
    if joined[max(extra, 0) :] != data or extra not in (0, 1) or (extra and joined[:1] != b" "):
        return None
    spans, begin = [], -extra
    for id in ids:
        end = begin + len(table.pieces[id])
        spans.append((max(begin, 0), max(end, 0)))
        begin = end
    return spans


def _token(id: int, table: PieceTable) -> str:
    piece = table.pieces[id]
    if not piece:
        return _chip("UNK" if table.is_unk[id] else table.tokenizer.piece(id))
    text = piece.decode("utf-8", "surrogateescape")
    parts, begin = [], 0
    while begin < len(text):
        end = begin
        while end < len(text) and _is_byte(text[end]):
            end += 1
        if end > begin:
            parts.append(_chip(text[begin:end].encode("utf-8", "surrogateescape").hex(" ").upper()))
            begin = end
            continue
        char = text[begin]
        lone = begin == 0 or _is_byte(text[begin - 1])
        if lone and _is_mark(char):
            parts.append("\u25cc")
        parts.append(_character(char, whole=False))
        begin += 1
    return "".join(parts)


def _is_byte(char: str) -> bool:
    return "\udc80" <= char <= "\udcff"


def _character(char: str, *, whole: bool) -> str:
    if char in _SHOWN_AS:
        return char if whole else f"<i>{_SHOWN_AS[char]}</i>"
    if unicodedata.category(char) in _HIDDEN and not (whole and char in _HARMLESS):
        return _chip(_NAMES.get(char) or f"U+{ord(char):04X}")
    return escape(char)


def _chip(text: str) -> str:
    return f"<code>{escape(text)}</code>"


@lru_cache(maxsize=4096)
def _is_mark(char: str) -> bool:
    """It goes on with the cluster of a letter before it, and is no joiner, which is shown by its code point."""
    return not bool(Characters("a" + char).begins_cluster()[1]) and unicodedata.category(char) not in _HIDDEN
