"""Answers by vLLM, where it is installed: its own batches, paged cache and kernels, from the model's folder.

Token ids go in and come out, so that prompts are tokenised by this project alone; each request has its own seed. Stop
strings are looked for by vLLM and settled here, as everywhere. Its answers follow its own kernels and its own draws:
sampled ones are not those of the other engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatools.engine.prompts import PromptError
from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Decode, Generated, cut_at_stop
from seatools.streams.extras import require


def open_vllm(folder: Path, *, dtype: str = "auto", memory_share: float = 0.9, seed: int = 0) -> Any:
    """A vLLM engine on the model in `folder`. SeaError naming the extra `vllm` where it is not installed."""
    vllm = require("vllm")
    return vllm.LLM(
        model=str(folder), dtype=dtype, gpu_memory_utilization=memory_share, seed=seed, enable_prefix_caching=True,
        disable_log_stats=True,
    )  # fmt: skip


def vllm_answers(
    engine: Any,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    decode: Decode | None,
) -> list[Generated]:
    """One answer per prompt in their order. PromptError for a prompt that vLLM gives no answer to."""
    vllm = require("vllm")
    asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    sampling = [
        vllm.SamplingParams(
            max_tokens=options.max_new_tokens, temperature=options.temperature, top_p=options.top_p,
            top_k=options.top_k, min_p=options.min_p, repetition_penalty=options.repetition_penalty,
            seed=seed % (1 << 63), stop=list(options.stop_strings) or None,
            stop_token_ids=sorted(options.stop_ids), ignore_eos=True, skip_special_tokens=True,
        )
        for seed in seeds
    ]  # fmt: skip
    answers = []
    for row, output in enumerate(engine.generate(asked, sampling, use_tqdm=False)):
        if not output.outputs:
            raise PromptError(row, "vLLM gave no answer")
        found = output.outputs[0]
        ids = [int(token) for token in found.token_ids]
        stopped = next((place for place, token in enumerate(ids) if token in options.stop_ids), None)
        ids = ids[:stopped]
        cut = cut_at_stop(ids, options, decode)
        ended = stopped is not None or found.finish_reason == "stop"
        answers.append(cut or Generated(ids, "stop" if ended else "length", decode(ids) if decode else None))
    return answers
