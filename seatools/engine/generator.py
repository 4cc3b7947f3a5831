"""One interface to all ways of generating: what can be asked, in which groups, and how an engine is chosen.

    generator = open_generator("auto", model=model, decode=tokenizer.decode)
    for group in generator.groups(requests):       # fixed by the requests alone: the units of a resumable run
        answers = generator.run([requests[row] for row in group])

`auto`: our own loop on a CPU; on CUDA transformers' continuous batching where it knows the model, else our own loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seatools.engine.prompts import GROUP, PromptError, prompt_groups
from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Decode, Generated
from seatools.streams.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.openai_engine import Server

ENGINES = ("auto", "own", "transformers", "vllm", "URL")
Progress = Callable[[int], Any]


@dataclass(frozen=True)
class Request:
    """A prompt and how to answer it."""

    ids: tuple[int, ...]
    """The prompt's tokens; a server is sent `text` instead."""
    options: SamplingOptions
    seed: int = 0
    text: str | Sequence[Mapping[str, Any]] | None = None
    """The prompt as a string or as messages, for a server."""


class Generator(Protocol):
    """A way of generating."""

    needs_text: bool
    """Whether requests are read by their `text` (a server) and not by their `ids`."""
    repeats: bool
    """Whether a group that is run again has the same answers to the byte."""

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """Indices of `requests` in groups to `run`; fixed by the requests, each index once, one set of options each."""

    def run(self, group: Sequence[Request], progress: Progress | None = None) -> list[Generated]:
        """The answers to a group, in its order. PromptError (`row`: index in the group) for one that has none."""


def request_groups(requests: Sequence[Request], *, size: int = GROUP) -> list[list[int]]:
    """`prompt_groups` within each set of options, in the order of their first request."""
    by_options: dict[SamplingOptions, list[int]] = {}
    for row, request in enumerate(requests):
        by_options.setdefault(request.options, []).append(row)
    return [
        [rows[place] for place in group]
        for rows in by_options.values()
        for group in prompt_groups([requests[row].ids for row in rows], size=size)
    ]


def _one_set(group: Sequence[Request]) -> SamplingOptions:
    options = group[0].options
    if any(request.options != options for request in group):
        raise ValueError("the requests of a group have different options; make groups with `groups`")
    return options


@dataclass
class OwnLoop:
    """This project's loop (packed_generation.py), on any device."""

    model: PreTrainedModel
    decode: Decode | None = None
    batch_tokens: int | None = None
    needs_text = False
    repeats = True

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return request_groups(requests)

    def run(self, group: Sequence[Request], progress: Progress | None = None) -> list[Generated]:
        from seatools.engine.generate import answer_group, check_request

        if not group:
            return []
        options, ids, seeds = _one_set(group), [each.ids for each in group], [each.seed for each in group]
        check_request(self.model, ids, options, seeds, self.batch_tokens, self.decode)
        return answer_group(
            self.model, ids, options, seeds=seeds, batch_tokens=self.batch_tokens, decode=self.decode,
            progress=progress,
        )  # fmt: skip


@dataclass
class ContinuousBatching:
    """transformers' continuous batching (continuous_batching.py); larger groups, as a GPU takes more at once."""

    model: PreTrainedModel
    decode: Decode | None = None
    num_blocks: int | None = None
    page_size: int = 256
    batch_tokens: int | None = None
    needs_text = False
    repeats = False

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return request_groups(requests, size=8 * GROUP)

    def run(self, group: Sequence[Request], progress: Progress | None = None) -> list[Generated]:
        import torch

        from seatools.engine.continuous_batching import continuous_answers
        from seatools.engine.generate import check_request

        if not group:
            return []
        options, ids, seeds = _one_set(group), [each.ids for each in group], [each.seed for each in group]
        if options.repetition_penalty != 1:
            raise UsageError("continuous batching knows no repetition penalty", fix="--engine own")
        check_request(self.model, ids, options, seeds, self.batch_tokens, self.decode)
        answers: dict[int, Generated] = {}
        with torch.no_grad():
            for row, answer in continuous_answers(
                self.model, ids, options, seeds=seeds, decode=self.decode, num_blocks=self.num_blocks,
                page_size=self.page_size, batch_tokens=self.batch_tokens,
            ):  # fmt: skip
                answers[row] = answer
                if progress is not None:
                    progress(1)
        return [answers[row] for row in range(len(group))]


@dataclass
class VLLM:
    """vLLM (vllm_engine.py); `engine` is what `open_vllm` gives."""

    engine: Any
    decode: Decode | None = None
    needs_text = False
    repeats = False

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return request_groups(requests, size=8 * GROUP)

    def run(self, group: Sequence[Request], progress: Progress | None = None) -> list[Generated]:
        from seatools.engine.vllm_engine import vllm_answers

        if not group:
            return []
        options, ids, seeds = _one_set(group), [each.ids for each in group], [each.seed for each in group]
        answers = vllm_answers(self.engine, ids, options, seeds=seeds, decode=self.decode)
        if progress is not None:
            progress(len(answers))
        return answers


@dataclass
class Remote:
    """A server (openai_engine.py), asked with the `text` of the requests; equal requests once.

    What was answered before a prompt was refused is kept, for the run of the group without that prompt.
    """

    server: Server
    _kept: dict[Any, Generated] = field(default_factory=dict)
    needs_text = True
    repeats = False

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return request_groups(requests)

    def run(self, group: Sequence[Request], progress: Progress | None = None) -> list[Generated]:
        if not group:
            return []
        options, texts, keys = _one_set(group), {}, []
        for row, request in enumerate(group):
            if request.text is None:
                raise PromptError(row, "a server is asked with text, and this prompt has tokens only")
            keys.append((options, request.seed, json.dumps(request.text)))
            texts[keys[-1]] = request.text
        left = [key for key in texts if key not in self._kept]
        try:
            asked = [texts[key] for key in left]
            for place, answer in self.server.stream(asked, options, seeds=[seed for _, seed, _ in left]):
                self._kept[left[place]] = answer
                if progress is not None:
                    progress(keys.count(left[place]))
        except PromptError as error:
            raise error.of_row(keys.index(left[error.row])) from error
        answers = [self._kept[key] for key in keys]
        self._kept.clear()
        return answers


def open_generator(
    engine: str,
    *,
    model: PreTrainedModel | None = None,
    folder: Path | None = None,
    name: str | None = None,
    decode: Decode | None = None,
    batch_tokens: int | None = None,
    note: Callable[[str], Any] | None = None,
) -> Generator:
    """The generator that `engine` names: auto, own or transformers (`model`), vllm (`folder`), or a URL (`name`: what
    the server calls the model). `note` is told where `auto` on CUDA has to take our own loop, and why."""
    if engine.startswith(("http://", "https://")):
        from seatools.engine.openai_engine import Server

        if name is None:
            raise UsageError("a server needs the name of a model")
        return Remote(Server(url=engine, model=name))
    if engine == "vllm":
        from seatools.engine.vllm_engine import open_vllm

        if folder is None:
            raise ValueError("vllm needs the folder of the model")
        return VLLM(open_vllm(folder), decode)
    if engine not in ENGINES or engine == "URL":
        raise UsageError(f"unknown engine {engine!r}", fix=f"use one of {', '.join(ENGINES)}")
    if model is None:
        raise ValueError(f"engine {engine!r} needs a model")
    if engine == "own" or (engine == "auto" and model.device.type != "cuda"):
        return OwnLoop(model, decode, batch_tokens)
    from seatools.engine.continuous_batching import unpageable

    why = unpageable(model)
    if why is None:
        return ContinuousBatching(model, decode)
    if engine == "transformers":
        raise UsageError(f"{type(model).__name__} cannot be batched continuously: it has {why}", fix="--engine own")
    if note is not None:
        note(f"{type(model).__name__} has {why}: answered by sea's own loop, not by continuous batching")
    return OwnLoop(model, decode, batch_tokens)
