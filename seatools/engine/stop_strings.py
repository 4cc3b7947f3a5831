"""When an answer ends: stop ids, and stop strings looked for in the end of the text only.

Decoding a whole answer at each of its tokens is quadratic. What is decoded here begins at one of two marks, which move
on when the text after the second is long enough for a stop string and some context (decoders treat the first piece of
a text, and characters cut in bytes, differently). A stop that is seen there, and the end of an answer, are settled on
the whole text; so what the tail could miss costs tokens, never a different answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from seatools.engine.sampling import SamplingOptions

Decode = Callable[[list[int]], str]
_CONTEXT = 8  # characters kept before what may be the beginning of a stop string


@dataclass(frozen=True)
class Generated:
    """One answer: its ids without the stop id, why it ended, and (only where `decode` was given) its text.

    A stop string may begin inside a token: `ids` then ends before that token, `text` exactly before the string.
    """

    ids: list[int]
    finish: Literal["stop", "length"]
    text: str | None = None


class Answer:
    """An answer that grows token by token."""

    def __init__(self, options: SamplingOptions, decode: Decode | None) -> None:
        self.ids: list[int] = []
        self._options, self._decode = options, decode
        self._room = max(map(len, options.stop_strings), default=0) + _CONTEXT
        self._first = self._second = 0  # the marks
        self._before_second = 0  # length of the text from the first to the second

    def add(self, token: int) -> Generated | None:
        """The finished answer if `token` ends it, else None."""
        if token in self._options.stop_ids:
            return self._finished("stop")
        self.ids.append(token)
        if self._sees_stop() and (found := cut_at_stop(self.ids, self._options, self._decode)) is not None:
            return found
        return self._finished("length") if len(self.ids) == self._options.max_new_tokens else None

    def _finished(self, finish: Literal["stop", "length"]) -> Generated:
        found = cut_at_stop(self.ids, self._options, self._decode)
        return found or Generated(self.ids, finish, self._decode(self.ids) if self._decode else None)

    def _sees_stop(self) -> bool:
        if not self._options.stop_strings or self._decode is None:
            return False
        text = self._decode(self.ids[self._first :])
        if any(stop in text for stop in self._options.stop_strings):
            return True
        if len(text) - self._before_second >= self._room and not text.endswith("\ufffd"):
            self._first, self._second = self._second, len(self.ids)
            self._before_second = len(self._decode(self.ids[self._first :]))
        return False


def cut_at_stop(ids: list[int], options: SamplingOptions, decode: Decode | None) -> Generated | None:
    """The answer before the first stop string in the text of `ids`; None where there is none."""
    if not options.stop_strings or decode is None:
        return None
    text = decode(ids)
    found = [place for stop in options.stop_strings if (place := text.find(stop)) >= 0]
    if not found:
        return None
    text = text[: min(found)]
    # The longest run of tokens whose text is a beginning of what is kept; at zero tokens that is the empty text.
    end = len(ids)
    while end and not text.startswith(decode(ids[:end])):
        end -= 1
    return Generated(ids[:end], "stop", text)
