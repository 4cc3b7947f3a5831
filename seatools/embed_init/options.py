"""Everything that decides the new rows, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass

from seatools.streams.errors import UsageError

METHODS = ("subword-mean", "mean", "gaussian", "xavier")


@dataclass(frozen=True, kw_only=True)
class EmbedInitOptions:
    """Options of `sea embed-init`."""

    method: str = "subword-mean"
    """For rows of the input embedding, and of a tied head with it."""
    head_method: str | None = None
    """For rows of an untied head; None: as `method`."""
    pad_to_multiple: int = 1
    """The number of rows is rounded up to a multiple of this."""
    seed: int = 0
    link: bool = False
    """Hard links instead of copies for the files that do not change."""

    def __post_init__(self) -> None:
        for flag, method in (("--method", self.method), ("--head-method", self.head_method)):
            if method is not None and method not in METHODS:
                raise UsageError(f'{flag}: no method "{method}"', fix=", ".join(METHODS))
        if self.pad_to_multiple < 1:
            raise UsageError(f"--pad-to-multiple {self.pad_to_multiple} is not positive", fix="64 and 128 are usual")
