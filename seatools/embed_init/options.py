"""Everything that decides the new rows, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seatools.embed_init.combined_rows import PIECE_WEIGHTS
from seatools.embed_init.existing_tokens import REASONS
from seatools.streams.errors import UsageError

DRAWN = ("mean", "gaussian", "gaussian-diagonal", "gaussian-full", "xavier")
METHODS = (*PIECE_WEIGHTS, *DRAWN, "focus", "omp", "distill")
AUTO = "auto"
_WITH_TEXT = ("focus", "distill")


@dataclass(frozen=True, kw_only=True)
class EmbedInitOptions:
    """Options of `sea embed-init`."""

    method: str = AUTO
    """For rows of the input embedding, and of a tied head with it; auto: see `resolved`."""
    head_method: str | None = None
    """For rows of an untied head; None: as `method`, but weighted-first beside distill, which has no head rows."""
    norm_match: bool = False
    """Each new row is scaled to the mean norm of the old ones, matrix by matrix."""
    reinit: str | None = None
    """existing_tokens.jsonl of `sea vocab-extend`."""
    reinit_reasons: tuple[str, ...] = ("woken",)
    text: tuple[str, ...] = ()
    """[LANG=]GLOB, for focus and distill."""
    max_tokens: int = 10_000_000
    """Of `text`, per language."""
    donor: str | None = None
    """Model folder with its tokenizer, for omp."""
    omp_k: int = 64
    """omp: tokens that a row is made of, at most."""
    steps: int = 100
    """distill: updates of each row, a context each."""
    lr: float | None = None
    """distill: of Adam; None: 1 % of the old rows' root mean square."""
    pad_to_multiple: int = 1
    """The number of rows is rounded up to a multiple of this."""
    seed: int = 0
    link: bool = False
    """Hard links instead of copies for the files that do not change."""

    def __post_init__(self) -> None:
        for flag, method in (("--method", self.method), ("--head-method", self.head_method)):
            if method is not None and method not in METHODS and (flag, method) != ("--method", AUTO):
                raise UsageError(f'{flag}: no method "{method}"', fix=", ".join(METHODS))
        if self.head_method == "distill":
            raise UsageError(
                "--head-method distill: Token Distillation makes input rows only", fix="--head-method weighted-first"
            )
        chosen = {self.method, self.head}
        for wanted, given, flag in (
            (chosen.intersection(_WITH_TEXT), self.text, "--text FILE"),
            (chosen & {"omp"}, self.donor, "--donor MODEL"),
        ):
            if wanted and not given:
                raise UsageError(f"method {min(wanted)} needs {flag}", fix=flag)
            if given and not wanted:
                raise UsageError(f"{flag.split()[0]} is for another method", fix="leave it out, or see --method")
        wrong = [reason for reason in self.reinit_reasons if reason not in REASONS]
        if wrong or not self.reinit_reasons:
            raise UsageError(f'--reinit-reasons: no reason "{", ".join(wrong)}"', fix=f"some of {','.join(REASONS)}")
        if self.pad_to_multiple < 1:
            raise UsageError(f"--pad-to-multiple {self.pad_to_multiple} is not positive", fix="64 and 128 are usual")
        for flag, number in (("--omp-k", self.omp_k), ("--max-tokens", self.max_tokens), ("--steps", self.steps)):
            if number < 1:
                raise UsageError(f"{flag} {number} is not positive")
        if self.lr is not None and not self.lr > 0:
            raise UsageError(f"--lr {self.lr} is not positive", fix="leave it out: 1 % of the old rows' spread")

    @property
    def head(self) -> str:
        """The method of an untied head."""
        if self.head_method is not None:
            return self.head_method
        return "weighted-first" if self.method == "distill" else self.method

    def resolved(self, tied: bool) -> EmbedInitOptions:
        """With methods in the place of auto: those that were best without text or donor in docs/embed-init.md."""
        if self.method != AUTO:
            return self
        if tied:
            return replace(self, method="weighted-first")
        return replace(self, method="weighted-last", head_method=self.head_method or "weighted-first")
