"""From a record to the values that a task's templates read: columns checked by type, then `let` expressions.

A data set may write its rows in several shapes (MMLU has three); the first whose `match` holds is taken. `unpack` walks
into nested rows, as SQuAD's data > paragraphs > qas, and each inner row inherits the columns of the outer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seatools.eval.templates import Expression
from seatools.streams.records import BadRecord, check_prompt

TYPES = ("text", "string", "texts", "choices", "number", "flag", "prompt", "object", "any")
Kind = str | tuple[Any, ...]


@dataclass(frozen=True)
class Column:
    """A column that rows must have; `kind` is one of TYPES or the values allowed."""

    name: str
    kind: Kind
    optional: bool = False

    def value(self, row: Mapping[str, Any]) -> Any:
        """The checked value. Raises BadRecord where it is missing, of another type, or empty."""
        if self.optional and row.get(self.name) is None:
            return None
        if self.name not in row:
            raise BadRecord(
                "missing column", f'field "{self.name}" is missing; there are {", ".join(map(str, row)) or "none"}'
            )
        found = row[self.name]
        if isinstance(self.kind, tuple):
            return self._allowed(found)
        if self.kind == "prompt":
            check_prompt({"prompt": found})
            return found
        return getattr(self, f"_{self.kind}")(found)

    def _allowed(self, found: Any) -> Any:
        same = [value for value in self.kind if type(value) is type(found) and value == found]
        if isinstance(found, str):  # a cell of a table
            same = same or [value for value in self.kind if str(value) == found.strip()]
        if not same:
            known = ", ".join(map(str, self.kind))
            raise BadRecord("bad label", f'field "{self.name}" is {found!r}, none of {known}')
        return same[0]

    def _wrong(self, found: Any, wanted: str) -> BadRecord:
        return BadRecord("bad column", f'field "{self.name}" is {type(found).__name__}, not {wanted}')

    def _text(self, found: Any) -> str:
        text = self._string(found).strip()
        if not text and not self.optional:
            raise BadRecord("empty text", f'field "{self.name}" is empty')
        return text

    def _string(self, found: Any) -> str:
        if not isinstance(found, str):
            raise self._wrong(found, "a string")
        if "\0" in found:
            raise BadRecord("nul", f'field "{self.name}" holds a NUL character')
        return found

    def _texts(self, found: Any, least: int = 0) -> list[str]:
        if not isinstance(found, list | tuple) or len(found) < least or not all(isinstance(t, str) for t in found):
            wanted = "a list of two or more strings" if least else "a list of strings"
            raise BadRecord("bad choices" if least else "bad column", f'field "{self.name}" is not {wanted}')
        if not all(text.strip() for text in found):
            raise BadRecord("empty text", f'field "{self.name}" holds an empty {"choice" if least else "string"}')
        return [text.strip() for text in found]

    def _choices(self, found: Any) -> list[str]:
        return self._texts(found, least=2)

    def _number(self, found: Any) -> int | float | str:
        if isinstance(found, bool) or not isinstance(found, int | float | str) or not str(found).strip():
            raise self._wrong(found, "a number")
        return found

    def _flag(self, found: Any) -> bool:
        said = found if isinstance(found, bool) else {"0": False, "false": False, "1": True, "true": True}.get(
            str(found).strip().lower()
        )  # fmt: skip
        if said is None:
            raise BadRecord("bad label", f'field "{self.name}" is {found!r}, neither true nor false')
        return said

    def _object(self, found: Any) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._wrong(found, "an object")
        return found

    def _any(self, found: Any) -> Any:
        return found


@dataclass(frozen=True)
class Shape:
    """One shape of rows."""

    match: Expression | tuple[str, ...]
    columns: tuple[Column, ...]
    let: tuple[tuple[str, Expression], ...] = ()
    unpack: tuple[str, ...] = ()
    headerless: tuple[str, ...] = ()
    """The columns of a table without a header line."""
    id: Expression | None = None
    auto: bool = True
    """Whether rows like these are known for the task's; else they are read so only where the task is named."""

    @property
    def needs(self) -> str:
        """The required columns, for messages."""
        return ", ".join(f"`{column.name}`" for column in self.columns if not column.optional)

    @property
    def names(self) -> frozenset[str]:
        """What templates may read of a row."""
        return frozenset([*(column.name for column in self.columns), *(name for name, _ in self.let)])

    def fits(self, value: Mapping[str, Any]) -> bool:
        """Whether a record looks like one of this shape."""
        if isinstance(self.match, tuple):
            return all(name in value for name in self.match)
        try:
            return bool(self.match.value({"row": value}))
        except BadRecord:
            return False

    def rows(self, value: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(its path within the record, "" for the record itself; the row)."""
        return _unpacked("", dict(value), self.unpack)

    def content(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the columns, checked: what the item is, whatever a prompt makes of it."""
        return {column.name: column.value(row) for column in self.columns}

    def values(self, content: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """What templates read: `given` (lang, words ...), the content by name and as `row`, the `let` values."""
        values = {**given, **content, "row": content}
        for name, expression in self.let:
            values[name] = expression.value(values)
        return values


def _unpacked(path: str, row: dict[str, Any], steps: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not steps or steps[0] not in row:
        if steps and path:
            raise BadRecord("missing column", f'field "{steps[0]}" of {path} is missing')
        yield path, row
        return
    inner = row[steps[0]]
    if not isinstance(inner, list) or not all(isinstance(one, dict) for one in inner):
        raise BadRecord("bad column", f'field "{steps[0]}" is not a list of objects')
    outer = {name: value for name, value in row.items() if name != steps[0]}
    for number, one in enumerate(inner):
        yield from _unpacked(f"{path}.{steps[0]}[{number}]".lstrip("."), outer | one, steps[1:])
