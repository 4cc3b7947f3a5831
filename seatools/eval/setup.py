"""The settings of an evaluation, as the command line gives them."""

from __future__ import annotations

from dataclasses import dataclass

from seatools.engine.text_windows import chosen_window
from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """None stands for what the task, the model or the engine has found best."""

    seq_len: int | None = None
    """Tokens of a perplexity window, its context token included; None: what the model takes, at most 2,048."""
    stride: int | None = None
    """New tokens that each further window scores; None: half a window."""
    context_bytes: int | None = None
    """Windows by bytes in place of tokens."""
    shots: int | None = None
    """Solved examples before each question; None: as many as the task says."""
    chat: bool | None = None
    """Whether prompts go through the chat template; None: as the task says."""
    system: str | None = None
    """System turn of chats, in place of the task's."""
    max_new_tokens: int | None = None
    """Longest answer; None: the task's."""
    batch_tokens: int | None = None
    """Most tokens in a batch; changes a score by rounding only."""
    format: str = "auto"
    """Task file for the records of the task `choice`."""
    pairs: tuple[str, ...] = ()
    """Translations of aligned lines, SOURCE-TARGET; empty: all."""
    reference: str | None = None
    """The language that parallel texts are compared with."""
    seed: int = 0
    """Of the bootstrap."""
    resamples: int = 1000
    limit: int | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        chosen_window(None, self.seq_len, self.stride)
        least = {"--shots": (self.shots, 0), "--max-new-tokens": (self.max_new_tokens, 1),
                 "--batch-tokens": (self.batch_tokens, 1), "--context-bytes": (self.context_bytes, 16)}  # fmt: skip
        for flag, (value, lowest) in least.items():
            if value is not None and value < lowest:
                raise UsageError(f"{flag} is {value}; it must be at least {lowest}")
        if self.context_bytes is not None and (self.seq_len is not None or self.stride is not None):
            raise UsageError("--context-bytes cuts windows by bytes, --seq-len and --stride by tokens", fix="drop one")
        if self.system is not None and self.chat is False:
            raise UsageError("--system is for chats", fix="--chat")

    def window(self, positions: int | None) -> tuple[int, int]:
        """(window, stride) for a model that takes `positions` tokens (None: any number)."""
        return chosen_window(positions, self.seq_len, self.stride)
