"""What the loop computes: nothing twice, nothing padded, no place left empty, the same calls every time."""

from __future__ import annotations

import pytest
import torch
from tiny_families import tiny

from seatools.engine import packed_generation
from seatools.engine.generate import SamplingOptions, answer_group, generate
from seatools.engine.packed_generation import unpackable


def widths_of(model) -> list[int]:
    """The number of tokens of each forward pass to come; those of the proof are over."""
    assert unpackable(model) is None
    widths: list[int] = []
    model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    return widths


def test_every_token_is_read_once_and_no_padding_is():
    model = tiny("gemma3")
    widths = widths_of(model)
    common = [3 + i * 7 % 90 for i in range(20)]
    given = [[*common, *range(5, 5 + n)] for n in (1, 4, 9)] + [[9, 8, 7]]
    answers = generate(model, given, SamplingOptions(max_new_tokens=6), seeds=range(4))
    own = 1 + 4 + 9 + 3
    assert widths[:2] == [20 + 3, own - 3 + 1]  # the beginning beside what does not hang on it and then goes on
    assert sum(widths) == 20 + own + sum(len(answer.ids) - 1 for answer in answers)


def test_equal_prompts_are_read_once_and_differ_by_seed():
    model, prompt = tiny("gemma3"), [3 + i * 5 % 90 for i in range(20)]
    widths = widths_of(model)
    answers = generate(model, [prompt] * 4, SamplingOptions(max_new_tokens=8), seeds=[1, 2, 3, 1])
    assert widths == [19] + [4] * 8
    assert answers[0] == answers[3]
    assert len({tuple(answer.ids) for answer in answers}) == 3


def test_a_free_place_is_taken_at_once(monkeypatch):
    monkeypatch.setattr(packed_generation, "_SLOTS_CPU", 4)
    model = tiny("llama")
    widths = widths_of(model)
    options = SamplingOptions(max_new_tokens=20, temperature=1.5, stop_ids=frozenset(range(2, 16)))
    answers = generate(model, [[5 + row] for row in range(16)], options, seeds=range(16))
    lengths = [len(answer.ids) + (answer.finish == "stop") for answer in answers]
    assert len(set(lengths)) > 4
    # Each place holds one prompt after the other in order, so the steps follow from the lengths alone.
    places, order = [0] * 4, sorted(range(16), key=lambda row: row)
    for row in order:
        first = places.index(min(places))
        places[first] += lengths[row]
    assert len(widths) == max(places)
    assert sum(widths) == sum(lengths)


def test_places_are_limited_by_what_answers_may_grow_to():
    model = tiny("llama")
    widths = widths_of(model)
    generate(model, [[5, 6, 7]] * 6, SamplingOptions(max_new_tokens=5), seeds=range(6), batch_tokens=16)
    assert widths == [6, 2, 2, 2, 2] * 3  # two answers of 3 + 5 tokens at a time


def test_a_group_that_is_run_again_makes_the_same_calls(monkeypatch):
    monkeypatch.setattr(packed_generation, "_SLOTS_CPU", 5)
    model = tiny("qwen2", torch.bfloat16)
    widths = widths_of(model)
    options = SamplingOptions(max_new_tokens=12, stop_ids=frozenset(range(2, 12)))
    given = [[3 + (row * 13 + i) % 90 for i in range(1 + row % 7)] for row in range(23)]
    made = [answer_group(model, given, options, seeds=range(23), batch_tokens=200, decode=None) for _ in range(2)]
    assert made[0] == made[1]
    assert widths[: len(widths) // 2] == widths[len(widths) // 2 :]


@pytest.mark.parametrize(("family", "reason"), [("bloom", "tree"), ("falcon-old", "tree"), ("llama", None)])
def test_whether_a_model_can_be_packed_is_proved(family, reason):
    found = unpackable(tiny(family))
    assert found is None if reason is None else reason in found


def test_a_head_that_is_not_what_it_seems_is_noticed():
    model = tiny("llama")
    model.lm_head.register_forward_hook(lambda _, args, found: found * 2)
    assert "head" in unpackable(model)


def test_frequencies_that_change_with_the_length_are_not_packed():
    model = tiny("llama", rope_scaling={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})
    assert "length" in unpackable(model)
