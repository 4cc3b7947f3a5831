"""Everything `sea judge` was asked for, checked at the door."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from seatools.judge.filters import FilterOptions
from seatools.judge.pairs import PAIRS
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages

MODES = ("pairwise", "pointwise", "spin")


@dataclass(frozen=True, kw_only=True)
class Judging:
    """One run."""

    model: str | None
    """The judge's folder; None where a server, a file or nobody judges."""
    paths: tuple[str, ...]
    """Responses, expanded."""
    output: str | None = None
    mode: str = "pairwise"
    pairs: str | None = None
    """One of PAIRS; None: all for pairwise and spin, best-worst for pointwise."""
    calibrate: bool | None = None
    """None: yes, where a model of ours compares."""
    criteria: tuple[str, ...] = ()
    criteria_lang: str | None = None
    chat: bool | None = None
    """None: through the chat template if the model has one."""
    chat_template: str | None = None
    pattern: str | None = None
    filters: FilterOptions = field(default_factory=FilterOptions)
    min_margin: float = 0.0
    min_consistency: float | None = None
    judge_url: str | None = None
    judge_model: str | None = None
    judge_tokens: int = 16
    judgements: str | None = None
    recorded: str | None = None
    shard: tuple[int, int] = (0, 1)
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    limit: int | None = None
    force: bool = False
    dry_run: bool = False
    json: bool = False
    on_error: str = "fail"
    quarantine: str | None = None
    messages: Messages = field(default_factory=Messages)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"no mode {self.mode!r}", fix=f"--mode {', '.join(MODES)}")
        if self.which not in PAIRS:
            raise UsageError(f"no such pairs: {self.pairs!r}", fix=f"--pairs {', '.join(PAIRS)}")
        if self.mode == "pointwise" and self.which == "first-two":
            raise UsageError("--pairs first-two is for comparisons", fix="--pairs best-worst or all")
        if self.mode == "spin" and self.pairs is not None:
            raise UsageError("--mode spin pairs every response with the gold answer; --pairs says nothing to it")
        if not (math.isfinite(self.min_margin) and self.min_margin >= 0):
            raise UsageError(f"--min-margin {self.min_margin} is not 0 or more")
        if self.min_consistency is not None and not 0 <= self.min_consistency <= 1:
            raise UsageError(f"--min-consistency {self.min_consistency} is no share", fix="a number from 0 to 1")
        if self.min_consistency is not None and self.mode != "pairwise":
            raise UsageError(f"--min-consistency compares two orders, and --mode {self.mode} has none")
        if self.calibrate and (self.mode != "pairwise" or not self.is_local):
            raise UsageError("--calibrate needs log-probabilities of comparisons, so a model of yours")
        self._check_judge()

    def _check_judge(self) -> None:
        named = [flag for flag, value in (("--judge-url", self.judge_url), ("--recorded", self.recorded)) if value]
        if self.mode == "spin":
            named += ["--judgements"] if self.judgements else []
            said = {"--min-margin": self.min_margin, "--criteria": self.criteria, "--criteria-lang": self.criteria_lang}
            named += [flag for flag, value in said.items() if value]
            if named:
                raise UsageError(f"--mode spin asks no judge, so {named[0]} says nothing to it")
        elif len(named) > 1:
            raise UsageError("--judge-url and --recorded name two judges", fix="keep one of them")
        elif not named and self.model is None:
            raise UsageError("no MODEL", fix="sea judge MODEL RESPONSES, --judge-url URL, --recorded FILE, --mode spin")
        if self.recorded and self.judgements:
            raise UsageError("--recorded replays judgements; there are none to keep with --judgements")
        if (self.judge_url is None) != (self.judge_model is None):
            raise UsageError("--judge-url and --judge-model go together", fix="http://HOST/v1 and NAME")
        if self.chat is False and self.chat_template is not None:
            raise UsageError("--no-chat leaves no use for --chat-template")

    @property
    def is_local(self) -> bool:
        """Whether a model on this machine judges."""
        return self.mode != "spin" and self.judge_url is None and self.recorded is None

    @property
    def which(self) -> str:
        """Which pairs come out."""
        return self.pairs or ("best-worst" if self.mode == "pointwise" else "all")

    @property
    def calibrated(self) -> bool:
        return self.is_local and self.mode == "pairwise" and self.calibrate is not False

    @cached_property
    def told(self) -> dict[str, Any]:
        """For the manifest: what the output depends on."""
        return {
            "mode": self.mode, "pairs": self.which, "calibrate": self.calibrated, "filters": self.filters,
            "min_margin": self.min_margin, "min_consistency": self.min_consistency,
            "criteria_lang": self.criteria_lang, "chat": self.chat, "chat_template": self.chat_template,
            "pattern": self.pattern, "judge_url": self.judge_url, "judge_model": self.judge_model,
            "judge_tokens": self.judge_tokens, "recorded": self.recorded, "shard": list(self.shard),
            "limit": self.limit,
        }  # fmt: skip
