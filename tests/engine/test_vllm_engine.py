"""vLLM, which is not installed here: a stand-in for its module shows what it is asked and how it is read."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from seatools.engine.prompts import PromptError
from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Generated
from seatools.engine.vllm_engine import open_vllm, vllm_answers
from seatools.streams.errors import SeaError


class Engine:
    def __init__(self, **settings) -> None:
        self.settings, self.asked = settings, []

    def generate(self, prompts, sampling, use_tqdm):
        self.asked = list(zip(prompts, sampling, strict=True))
        made = {3: ([10, 11, 2], "stop"), 4: ([10, 12, 13], "length"), 5: ([10, 26, 12], "length"), 6: ([7], "stop")}
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=made[first][0], finish_reason=made[first][1])])
            if (first := prompt["prompt_token_ids"][0]) in made
            else SimpleNamespace(outputs=[])
            for prompt in prompts
        ]


@pytest.fixture
def stand_in(monkeypatch):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Engine, lambda **settings: settings
    monkeypatch.setitem(sys.modules, "vllm", module)


def decode(ids: list[int]) -> str:
    return "".join(chr(97 + token % 26) for token in ids)


@pytest.mark.usefixtures("stand_in")
def test_ids_go_in_and_answers_are_cut_at_stops(tmp_path):
    engine = open_vllm(tmp_path)
    assert engine.settings["model"] == str(tmp_path)
    options = SamplingOptions(max_new_tokens=3, top_k=5, stop_ids=frozenset({2}), stop_strings=("a",))
    found = vllm_answers(engine, [[3, 9], [4], [5], [6]], options, seeds=[1, 2, 3, 4], decode=decode)
    assert found == [
        Generated([10, 11], "stop", "kl"), Generated([10, 12, 13], "length", "kmn"), Generated([10], "stop", "k"),
        Generated([7], "stop", "h"),
    ]  # fmt: skip
    prompt, sampling = engine.asked[0]
    assert prompt == {"prompt_token_ids": [3, 9]}
    assert (sampling["seed"], sampling["top_k"], sampling["stop"], sampling["stop_token_ids"]) == (1, 5, ["a"], [2])


@pytest.mark.usefixtures("stand_in")
def test_a_prompt_without_an_answer_is_named(tmp_path):
    with pytest.raises(PromptError, match="prompt 1") as caught:
        vllm_answers(open_vllm(tmp_path), [[3], [99]], SamplingOptions(), seeds=[0, 0], decode=decode)
    assert caught.value.row == 1


def test_where_it_is_missing_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "vllm")
    monkeypatch.setattr(sys, "meta_path", [_NoVLLM(), *sys.meta_path])
    with pytest.raises(SeaError, match="needs vllm") as caught:
        open_vllm(tmp_path)
    assert "[vllm]" in caught.value.fix


class _NoVLLM:
    def find_spec(self, name, *_):
        if name == "vllm":
            raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
