"""The first documents of each language, kept while the text goes by, to show how they are cut.

Where the languages are translations of each other, line by line, the examples are too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seatools.audit.cut_text import excerpt

PER_LANGUAGE = 2
NUM_CLUSTERS = 60
"""Of a document: a page of ten languages and four tokenizers stays below a megabyte, were all spelled in bytes."""


class Examples:
    """`excerpts`: language -> [(text, whether it is the whole document)]."""

    def __init__(self) -> None:
        self.excerpts: dict[str, list[tuple[str, bool]]] = {}

    def watched(self, batches: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
        """The same batches."""
        for lang, texts in batches:
            kept = self.excerpts.setdefault(lang, [])
            kept.extend(excerpt(text, NUM_CLUSTERS) for text in texts[: PER_LANGUAGE - len(kept)])
            yield lang, texts
