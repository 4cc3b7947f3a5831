"""Why a document is not kept: the rule with its version, what was found, and what was allowed."""

from __future__ import annotations

from typing import NamedTuple


class Rejection(NamedTuple):
    """`reason` is the key under which it is counted, such as `zlib_ratio.v1`; `detail` says more, such as which line
    of a benchmark was found."""

    reason: str
    value: float | str | None = None
    limit: float | str | None = None
    detail: str | None = None

    def as_dict(self) -> dict[str, float | str]:
        """What is known of it, for the `--rejects` file."""
        return {key: value for key, value in self._asdict().items() if value is not None}
