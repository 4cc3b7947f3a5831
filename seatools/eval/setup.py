"""What every task works with: its settings, the tokenizer, how long the model's input may be; and what it gives back.

A task has two halves. `prepare` reads, checks and tokenises records without the model, so that every complaint about
data comes before minutes of loading; `score` runs the model and is called once more for each `--deactivate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seatools.engine.text_windows import LONGEST_WINDOW
from seatools.eval.sources import Source
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import Rejects
from seatools.text.documents import Documents
from seatools.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of an evaluation."""

    seq_len: int | None = None
    """Tokens of a perplexity window, its context token included; None: what the model takes, at most 2,048."""
    stride: int | None = None
    """New tokens that each further window scores; None: half a window."""
    shots: int = 0
    """Solved examples before each question."""
    max_new_tokens: int = 256
    """Longest translation."""
    batch_tokens: int = 8192
    """Tokens in a batch; changes a score by rounding only."""
    format: str = "auto"
    """Shape of the records of the task `choice`."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if self.seq_len is not None and self.seq_len < 2:
            raise UsageError(f"--seq-len {self.seq_len} leaves no room", fix="at least 2: one context token, one text")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"--stride is {self.stride}; it must be at least 1")
        if self.shots < 0:
            raise UsageError(f"--shots is {self.shots}; it must be 0 or more")
        if self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens is {self.max_new_tokens}; it must be at least 1")
        if self.batch_tokens < 1:
            raise UsageError(f"--batch-tokens is {self.batch_tokens}; it must be at least 1")

    def window(self, positions: int | None) -> tuple[int, int]:
        """(window, stride) for a model that takes `positions` tokens (None: any number)."""
        window = self.seq_len or min(positions or LONGEST_WINDOW, LONGEST_WINDOW)
        if positions is not None and window > positions:
            raise UsageError(f"--seq-len {window} is more than the model's {positions} positions")
        stride = self.stride or max(1, window // 2)
        if stride >= window:
            raise UsageError(f"--stride {stride} is not less than the window of {window}", fix=f"at most {window - 1}")
        return window, stride


@dataclass(frozen=True)
class Setup:
    """Everything that `prepare` needs."""

    model_path: Path
    tokenizer: Tokenizer
    documents: Documents
    """Encodes prompts and completions, without EOS."""
    positions: int | None
    """The longest input of the model, None: not limited."""
    options: Options
    messages: Messages
    rejects: Rejects
    workers: int = 0
    """Threads of the tokenizer; 0: all cores."""

    @property
    def pad_id(self) -> int:
        """Any valid id: padding is never seen and never scored."""
        return self.tokenizer.pad_id or 0


@dataclass(frozen=True)
class Score:
    """One figure. `stderr` is None where one item gives no error bar."""

    lang: str
    metric: str
    value: float
    stderr: float | None
    n: int
    config: dict[str, Any] = field(default_factory=dict)


Advance = Callable[[int], None]


class Prepared(Protocol):
    """A task with its data checked and tokenised."""

    @property
    def size(self) -> int:
        """How many readings or answers of the model it takes."""

    def score(self, model: PreTrainedModel, advance: Advance) -> Iterator[Score]:
        """The figures, per language; `advance` is told of readings done."""


class Task(Protocol):
    """One name on the command line."""

    name: str
    takes_shots: bool
    needs: str
    """What its records must have, for messages."""

    def accepts(self, value: dict[str, Any]) -> bool:
        """Whether a record looks like one of this task's."""

    def prepare(self, sources: Sequence[Source], shots: Sequence[Source], setup: Setup) -> Prepared:
        """Read, check and tokenise. Raises SeaError, naming file and line, or hands bad records to `setup.rejects`."""
