"""`--engine`: what else may answer gives what sea's own loop gives, or is asked as its maker documents."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tiny_llama import write_jsonl

PROMPTS = ["abcde", "ก", "hello there", "abcdf", "x" * 40]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    rows = [{"prompt": prompt, "reference": "x"} for prompt in PROMPTS]
    return ["translation", "--data", f"en={write_jsonl(tmp_path / 'p.jsonl', rows)}", "--max-new-tokens", "6"]


def answers(result: Any, samples: Path) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    return [line["result"] for line in sorted(lines, key=lambda line: line["index"])]


def test_continuous_batching_answers_as_the_own_loop_does_on_a_cpu(sea, model_folder, data, tmp_path, monkeypatch):
    from seatools.engine import continuous_batching

    calls = []
    before = continuous_batching.continuous_answers

    def watched(model: Any, *args: Any, **more: Any) -> Any:
        calls.append(model.device.type)
        return before(model, *args, **more)

    monkeypatch.setattr(continuous_batching, "continuous_answers", watched)
    found = {}
    for engine in ("own", "transformers"):
        samples = tmp_path / f"{engine}.jsonl"
        result = sea("eval", model_folder, *data, "--engine", engine, "--samples", samples, "--device", "cpu")
        found[engine] = answers(result, samples)
    assert found["transformers"] == found["own"] and len(found["own"]) == len(PROMPTS)
    assert calls == ["cpu"]


@dataclass(kw_only=True)
class SamplingParams:
    """The fields of vLLM's own that are ours to set (vllm/sampling_params.py); any other name is an error, as there."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    repetition_penalty: float = 1.0
    skip_special_tokens: bool = True


class LLM:
    """The signatures of vLLM's own (vllm/entrypoints/llm.py)."""

    made: list[LLM] = []

    def __init__(
        self, model: str, *, dtype: str = "auto", seed: int = 0, gpu_memory_utilization: float = 0.9,
        enable_prefix_caching: bool | None = None, disable_log_stats: bool = True,
    ) -> None:  # fmt: skip
        self.model, self.dtype, self.asked = model, dtype, []
        LLM.made.append(self)

    def generate(self, prompts: Any, sampling_params: Any = None, *, use_tqdm: bool = True) -> list[Any]:
        assert not use_tqdm and len(prompts) == len(sampling_params)
        self.asked += list(zip(prompts, sampling_params, strict=True))
        # what it generates is the prompt's last token, and the stop token that ended it
        ends = [prompt["prompt_token_ids"][-1] for prompt in prompts]
        stop = sampling_params[0].stop_token_ids[0]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[end, stop], finish_reason="stop")]) for end in ends]


@pytest.mark.parametrize(("asked", "dtype"), [("auto", "float32"), ("bf16", "bfloat16")])
def test_vllm_is_asked_with_tokens_and_in_the_number_format_that_samples_name(
    sea, model_folder, data, tmp_path, monkeypatch, asked, dtype
):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr("seatools.engine.load.open_model", lambda *_, **__: pytest.fail("loaded"))
    LLM.made.clear()
    samples = tmp_path / "s.jsonl"
    result = sea("eval", model_folder, *data, "--engine", "vllm", "--samples", samples, "--dtype", asked,
                 "--device", "cpu")  # fmt: skip
    found = answers(result, samples)
    (engine,) = LLM.made
    assert (engine.model, engine.dtype) == (str(model_folder), dtype)
    assert [one["text"] for one in found][0] == "e" and {one["finish"] for one in found} == {"stop"}
    _, sampling = engine.asked[0]
    assert (sampling.temperature, sampling.max_tokens, sampling.ignore_eos) == (0, 6, True)
    assert json.loads(samples.read_text().splitlines()[0])["config"]["dtype"] == dtype


def test_without_vllm_the_extra_is_named_in_one_line(sea, model_folder, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    result = sea("eval", model_folder, *data, "--engine", "vllm", "--device", "cpu")
    assert result.code == 1 and "needs vllm" in result.stderr and len(result.stderr.splitlines()) <= 2
