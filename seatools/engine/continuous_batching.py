"""Answers by transformers' continuous batching (paged keys and values, prefix blocks shared, CUDA graphs).

What it lacks is added here. Sampling: a logits processor of ours leaves one token alone finite, the one that
sampling.next_tokens draws with the uniform of the request's own seed, so that a record has the same answer as by our
own loop, top-k, min-p and all. Stop strings: requests stream, their ends are watched (stop_strings.py), and one that
has stopped is cancelled. Memory: the number of blocks is given explicitly, from what is free on the device and what the
requests can need at most; left to itself transformers sizes the cache by the memory of the machine.
Which requests share a batch depends on the timing of its thread: answers are equal up to rounding, not to the byte.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seatools.engine import attention as document_attention
from seatools.engine.prompts import PromptError, kept_room
from seatools.engine.sampling import SamplingOptions, next_tokens
from seatools.engine.stop_strings import Answer, Decode, Generated
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAGE = 256  # tokens of a block on CUDA
_FREE_SHARE = 0.8  # of the free memory; the rest is for activations and graphs
_REQUESTS = 256  # that share a step
_POLL = 1.0  # seconds between looks at whether the thread lives


def unpageable(model: PreTrainedModel) -> str | None:
    """Why transformers cannot batch `model` continuously, after "it has"; None where it can."""
    config: Any = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        return f"layers of {min(kinds)}"
    if not hasattr(model, "init_continuous_batching"):
        return "no continuous batching in this version of transformers"
    if not getattr(model, "_supports_attention_backend", False):
        return "no attention that can be exchanged"
    return None


def continuous_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    decode: Decode | None,
    num_blocks: int | None = None,
    page_size: int = PAGE,
    batch_tokens: int | None = None,
) -> Iterator[tuple[int, Generated]]:
    """(index of the prompt, answer) as the answers finish.

    `num_blocks` of `page_size` tokens hold the keys and values (None: what the free memory allows and the requests can
    use), `batch_tokens` bounds the tokens of a step (None: transformers' choice). SeaError when its thread dies.
    """
    from transformers import ContinuousBatchingConfig, GenerationConfig

    steps, on_cuda = options.max_new_tokens, model.device.type == "cuda"
    if num_blocks is None:
        num_blocks = _blocks(model, [len(prompt) + steps for prompt in prompts], page_size)
    # A drawing depends on how many tokens a request has, which is one too few while batches overlap, and waits for the
    # device, which a recorded graph cannot.
    drawn = bool(options.temperature)
    config = ContinuousBatchingConfig(
        page_size=page_size, num_blocks=num_blocks, max_batch_tokens=batch_tokens, allow_block_sharing=True,
        use_cuda_graph=None if on_cuda and not drawn else False, use_async_batching=False if drawn else None,
        max_requests_per_batch=min(len(prompts), _REQUESTS),
        auto_switch_to_flash=model.dtype in (torch.bfloat16, torch.float16),
    )  # fmt: skip
    ends = sorted(options.stop_ids) or -1
    generation = GenerationConfig(do_sample=False, max_new_tokens=steps, eos_token_id=ends, pad_token_id=0)
    with _quiet(), _known_attention(model):
        begin: Any = model.init_continuous_batching
        manager = begin(generation_config=generation, continuous_batching_config=config)
        if drawn:
            manager.logit_processor = _drawing(options)
        if on_cuda:
            manager.warmup()
        manager.start()
        try:
            yield from _streamed(manager, prompts, options, seeds, decode, ends)
        finally:
            manager.stop(block=True, hard_stop=True)
            manager.destroy()


@contextmanager
def _known_attention(model: PreTrainedModel) -> Iterator[None]:
    """Ours, which is set where documents are packed, is unknown to the manager."""
    before = model.config._attn_implementation
    if before == document_attention.NAME:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if model.config._attn_implementation != before:
            model.set_attn_implementation(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the manager's advice on stderr; what fails comes with the requests."""
    logger = logging.getLogger("ContinuousBatchingLogger")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _drawing(options: SamplingOptions) -> Any:
    """A list of one processor, after which only the token that is drawn has a finite score."""
    from transformers import LogitsProcessorList
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessor,
        ContinuousBatchingLogitsProcessorList,
    )

    class Drawing(ContinuousBatchingLogitsProcessor):
        supported_kwargs = {"uniforms": np.ndarray}
        ignored_kwargs = ()

        def fill_defaults(self, int32_tensor: Tensor) -> None:
            int32_tensor.fill_(0)

        def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Tensor:
            drawn = []
            for request in requests_with_new_token:
                state = request.state
                made = state.generated_len()
                if state._true_initial_tokens:  # it was put back for want of room, its tokens into its prompt
                    made += len(state.initial_tokens) - state._true_initial_tokens
                uniforms = state.logit_processor_kwargs.get("uniforms")  # none in the requests of the warm-up
                drawn.append(0.0 if uniforms is None else float(uniforms[min(made, len(uniforms) - 1)]))
            return torch.tensor(drawn, dtype=torch.float32).view(torch.int32)

        def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:
            uniforms = tensor_arg[: scores.shape[0]].view(torch.float32).double()
            chosen = next_tokens(scores, options, uniforms).unsqueeze(-1)
            return torch.full_like(scores, -torch.inf).scatter_(-1, chosen, scores.gather(-1, chosen))

    made = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([Drawing()]))  # type: ignore[list-item]
    made.tensors_required = 1
    return made


def _streamed(
    manager: Any,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    seeds: Sequence[int],
    decode: Decode | None,
    ends: list[int] | int,
) -> Iterator[tuple[int, Generated]]:
    streaming = bool(options.stop_strings)
    rows: dict[str, int] = {}
    # Longest common beginnings first, as `add_requests` sorts them, so that blocks are there when they can be shared.
    for row in sorted(range(len(prompts)), key=lambda row: (tuple(prompts[row]), row), reverse=True):
        more: dict[str, Any] = {}
        if options.temperature:
            # float32 is what a request can carry; rounded down, so that it stays below 1
            drawn = np.random.default_rng(seeds[row]).random(options.max_new_tokens)
            more["uniforms"] = np.minimum(drawn.astype(np.float32), np.nextafter(np.float32(1), np.float32(0)))
        name = manager.add_request(
            list(prompts[row]), request_id=f"row_{row}", max_new_tokens=options.max_new_tokens, streaming=streaming,
            eos_token_id=ends, **more,
        )  # fmt: skip
        rows[name] = row
    answers = {row: Answer(options, decode) for row in rows.values()}
    while answers:
        result = manager.get_result(timeout=_POLL)
        if result is None:
            fatal = manager.background_thread_status.fatal_error
            if fatal is not None or not manager.is_running():
                raise SeaError(f"continuous batching stopped: {fatal or 'its thread ended'}", fix="--engine own")
            continue
        row = rows[result.request_id]
        if row not in answers:
            continue  # a token that was on its way when the request was cancelled
        if result.error is not None:
            raise PromptError(row, f"continuous batching failed: {result.error.splitlines()[0]}", fix="--engine own")
        answer = answers[row]
        for token in result.generated_tokens[len(answer.ids) :]:
            if (made := answer.add(int(token))) is not None:
                del answers[row]
                if not result.is_finished():
                    manager.cancel_request(result.request_id)
                yield row, made
                break


def _blocks(model: PreTrainedModel, lengths: Sequence[int], page_size: int) -> int:
    """Blocks that the free memory of the device has room for, and no more than all requests together can fill."""
    wanted = sum(-(-length // page_size) + 1 for length in lengths)
    needed = max(-(-length // page_size) + 1 for length in lengths)
    room = kept_room(model, _FREE_SHARE) // page_size
    if model.device.type != "cuda":
        return min(wanted, max(needed, room))
    if room < needed:
        raise SeaError(
            f"the device has memory left for {room * page_size:,} tokens, and a prompt needs {needed * page_size:,}",
            fix="shorter prompts, a lower --max-new-tokens or a smaller --dtype",
        )
    return min(wanted, room)
