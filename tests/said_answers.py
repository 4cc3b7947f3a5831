"""An engine that answers as a test says, in place of a model: `monkeypatch.setattr(OwnLoop, "run", said(...))`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seatools.engine.generator import OwnLoop, Request
from seatools.engine.stop_strings import Generated

Says = Callable[[str, Request], str | None]


def said(says: Says, asked: list[str] | None = None) -> Any:
    """`run` of an engine that answers prompt text T with `says(T, request)`; None: cut off by its length."""

    def run(self: OwnLoop, group: Sequence[Request], progress: Any = None) -> list[Generated]:
        found = []
        for request in group:
            text = request.text if isinstance(request.text, str) else "\n".join(t["content"] for t in request.text)
            if asked is not None:
                asked.append(text)
            answer = says(text, request)
            found.append(Generated([5], "length" if answer is None else "stop", answer or ""))
        return found

    return run
