"""How answers are made, as the command line says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatools.engine.sampling import SamplingOptions
from seatools.streams.errors import UsageError

NAMES = ("auto", "own", "transformers", "vllm")


def is_remote(engine: str) -> bool:
    """Whether an engine is a server's address."""
    return engine.startswith(("http://", "https://"))


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Settings of a run. Raises UsageError for those that exclude each other."""

    num: int = 1
    """Answers to each prompt that are kept."""
    best_of: int | None = None
    """Answers to each prompt that are made; None: `num`."""
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    system: str | None = None
    """A system turn, where a prompt has none; string prompts become the user's turn after it."""
    chat: bool = False
    """String prompts are a user's turn."""
    engine: str = "auto"
    batch_tokens: int | None = None
    """Most tokens that running answers hold; None: what fits."""
    from_lang: str | None = None
    """Language of the prompts, which the model translates before it answers; None: they are asked as they stand."""
    lang: str | None = None
    """Language to translate into; None: the record's `lang`."""
    translation_tokens: int | None = None
    """Longest translation; None: 512, or half of the model's positions where that is less."""

    def __post_init__(self) -> None:
        self.sampling(frozenset())
        if self.engine not in NAMES and not is_remote(self.engine):
            raise UsageError(f'no engine "{self.engine}"', fix=f"{', '.join(NAMES)}, or the URL of a server")
        if self.best_of is not None and self.best_of < self.num:
            raise UsageError(f"--best-of {self.best_of} is fewer than -n {self.num}, which are kept of them")
        if self.best_of is not None and (is_remote(self.engine) or self.engine == "vllm"):
            raise UsageError(
                f"--best-of scores answers with the model on this machine, which --engine {self.engine} does not load",
                fix="--engine own",
            )
        if self.num_made > 1 and (self.temperature == 0 or self.top_k == 1):
            how = "--temperature 0" if self.temperature == 0 else "--top-k 1"
            raise UsageError(
                f"{how} gives the same answer {self.num_made} times", fix="a --temperature above 0, or -n 1"
            )
        if self.from_lang is None and self.lang is not None:
            raise UsageError("--lang is what --from-prompts-in translates into", fix="--from-prompts-in LANG")
        if self.engine == "transformers" and self.repetition_penalty != 1:
            raise UsageError("--engine transformers knows no --repetition-penalty", fix="--engine own")

    @property
    def num_made(self) -> int:
        """Answers to each prompt that are made."""
        return self.best_of or self.num

    @property
    def chosen_engine(self) -> str:
        """The engine to open: where only our own loop can do it, that one."""
        return "own" if self.engine == "auto" and self.repetition_penalty != 1 else self.engine

    def sampling(self, stop_ids: frozenset[int]) -> SamplingOptions:
        """For the engine."""
        return SamplingOptions(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, top_k=self.top_k,
            min_p=self.min_p, repetition_penalty=self.repetition_penalty, stop_ids=stop_ids, stop_strings=self.stop,
        )  # fmt: skip

    @property
    def told(self) -> dict[str, Any]:
        """What decides answers, beside the model, for records; what is switched off is left out."""
        found: dict[str, Any] = {
            "temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p,
            "max_new_tokens": self.max_new_tokens, "seed": self.seed,
        }  # fmt: skip
        if self.repetition_penalty != 1:
            found["repetition_penalty"] = self.repetition_penalty
        if self.best_of is not None:
            found["best_of"] = self.best_of
        if self.stop:
            found["stop"] = list(self.stop)
        if self.system is not None:
            found["system"] = self.system
        if self.chat:
            found["chat"] = True
        return found
