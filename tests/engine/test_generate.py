"""Generation: greedy is that of transformers, samples do not depend on the batch."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from tiny_families import FAMILIES, VOCABULARY, tiny

from seatools.engine import packed_generation
from seatools.engine.generate import Generated, PromptError, SamplingOptions, generate
from seatools.streams.errors import UsageError

LENGTHS = (1, 3, 5, 9, 14, 14, 20)  # on both sides of the sliding window of 4


def prompts(lengths=LENGTHS) -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(3, VOCABULARY) for _ in range(length)] for length in lengths]


def letters(ids: list[int]) -> str:
    """A decoder in which every id stands for one to three letters: 3 -> "d", 29 -> "dd", 55 -> "ddd"."""
    return "".join(chr(ord("a") + token % 26) * (1 + token // 26 % 3) for token in ids)


def shared_prompts() -> list[list[int]]:
    """Alike for 18 tokens; some of them for 17 more; one twice; and three of mixed lengths that share nothing."""
    first, second, *rest = prompts((18, 17, 1, 9, 4, 1, 7, 20))
    return [
        *(first + own for own in rest[:2]),
        *(first + second + own for own in rest[1:3]),
        first + rest[0],
        *rest[3:],
    ]


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2", "gpt_neox", "bloom", "falcon-new", "phi3", "mixtral", "cohere2"])
def test_greedy_equals_transformers_however_prompts_are_shared_and_places_refilled(family, monkeypatch):
    model, given = tiny(family), shared_prompts()
    options = SamplingOptions(max_new_tokens=10, temperature=0, stop_ids=frozenset({2}))
    expected = []
    for prompt in given:
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10)
        answer = theirs[0, len(prompt) :].tolist()
        expected.append(answer[: answer.index(2)] if 2 in answer else answer)
    assert [answer.ids for answer in generate(model, given, options, seeds=[0] * len(given))] == expected
    monkeypatch.setattr(packed_generation, "_READ_CPU", 7)  # beginnings and prompts are cut
    monkeypatch.setattr(packed_generation, "_SLOTS_CPU", 3)
    assert [answer.ids for answer in generate(model, given, options, seeds=[0] * len(given))] == expected
    assert len({tuple(answer) for answer in expected}) > 3  # the prompts matter


@pytest.mark.parametrize("family", ["llama", "gemma2", "bloom"])  # bloom: in padded batches
def test_a_repetition_penalty_is_that_of_transformers_in_any_batch(family):
    model, given = tiny(family), shared_prompts()
    options = SamplingOptions(max_new_tokens=12, temperature=0, repetition_penalty=1.6, stop_ids=frozenset({2}))
    expected = []
    for prompt in given:
        ids = torch.tensor([prompt])
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, repetition_penalty=1.6
        )
        answer = theirs[0, len(prompt) :].tolist()
        expected.append(answer[: answer.index(2)] if 2 in answer else answer)
    assert [answer.ids for answer in generate(model, given, options, seeds=[0] * len(given))] == expected
    plain = dataclasses.replace(options, repetition_penalty=1.0)
    assert [answer.ids for answer in generate(model, given, plain, seeds=[0] * len(given))] != expected


@pytest.mark.parametrize(("family", "batch_tokens"), [("gemma3", 1), ("gemma3", 70), *((f, 16384) for f in FAMILIES)])
def test_sampled_answer_is_the_same_alone_and_in_any_batch(family, batch_tokens):
    model, given = tiny(family), prompts() + prompts((9, 9))[:1] * 3
    stops = frozenset(range(2, 10))  # one token in twelve ends a row, so batches shrink on the way
    options = SamplingOptions(max_new_tokens=16, temperature=1.3, top_p=0.95, stop_ids=stops)
    seeds = [100 + row for row in range(len(given))]
    together = generate(model, given, options, seeds=seeds, batch_tokens=batch_tokens)
    for row in (0, 3, 6, 7, 9):
        assert generate(model, [given[row]], options, seeds=[seeds[row]]) == [together[row]]
    assert len({len(answer.ids) for answer in together}) > 3


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_answers_like_the_cpu(dtype):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model, given = tiny("gemma3", dtype), prompts()
    options = SamplingOptions(max_new_tokens=16, top_k=40, top_p=0.95, min_p=0.01, stop_ids=frozenset({2, 3, 4}))
    on_cpu = generate(model, given, options, seeds=range(7))
    on_cuda = generate(model.to("cuda"), given, options, seeds=range(7))
    agreeing = sum(a == b for a, b in zip(on_cpu, on_cuda, strict=True))
    assert agreeing == 7 if dtype == torch.float32 else agreeing >= 3


def test_fewer_new_tokens_give_a_beginning_of_the_same_answer():
    model, given = tiny("llama"), prompts()
    long = generate(model, given, SamplingOptions(max_new_tokens=12), seeds=range(7))
    short = generate(model, given, SamplingOptions(max_new_tokens=5), seeds=range(7))
    assert [answer.ids for answer in short] == [answer.ids[:5] for answer in long]


def test_stop_id_ends_the_answer_and_is_not_part_of_it():
    model, given = tiny("llama"), prompts((5,))
    free = generate(model, given, SamplingOptions(max_new_tokens=10, temperature=0), seeds=[0])[0]
    stop = free.ids[4]
    options = SamplingOptions(max_new_tokens=10, temperature=0, stop_ids=frozenset({stop}))
    assert generate(model, given, options, seeds=[0]) == [Generated(free.ids[: free.ids.index(stop)], "stop")]
    assert free.finish == "length"


def test_stop_string_cuts_ids_and_text_before_it():
    model, given = tiny("llama"), prompts((5,))
    plain = SamplingOptions(max_new_tokens=12, temperature=1.0)
    free = generate(model, given, plain, seeds=[3], decode=letters)[0]
    assert free.text == letters(free.ids)
    for start in range(len(free.text) - 4):  # every place, also inside a token
        stop = free.text[start : start + 4]
        options = dataclasses.replace(plain, stop_strings=("never", stop))
        answer = generate(model, given, options, seeds=[3], decode=letters)[0]
        before = free.text[: free.text.index(stop)]
        whole = max(n for n in range(len(free.ids) + 1) if before.startswith(letters(free.ids[:n])))
        assert answer == Generated(free.ids[:whole], "stop", before)


def test_progress_counts_every_row_once():
    counts: list[int] = []
    options = SamplingOptions(max_new_tokens=4, stop_ids=frozenset(range(2, 30)))
    generate(tiny("llama"), prompts(), options, seeds=range(7), progress=counts.append)
    assert sum(counts) == 7


@pytest.mark.parametrize(
    ("bad", "message"),
    [([], "no tokens"), ([5] * 60, "64 positions"), ([5, VOCABULARY], "97 embeddings"), ([-1], "97 embeddings")],
)
def test_a_prompt_that_cannot_be_answered_is_named(bad, message):
    with pytest.raises(PromptError, match=message) as caught:
        generate(tiny("llama"), [[5], bad], SamplingOptions(max_new_tokens=5), seeds=[0, 1])
    assert caught.value.row == 1


def test_a_prompt_may_fill_the_positions_exactly():
    options = SamplingOptions(max_new_tokens=5, temperature=0)
    assert len(generate(tiny("llama"), [[5] * 59], options, seeds=[0])[0].ids) == 5


def test_logits_that_are_not_finite_are_refused():
    model = tiny("llama")
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(PromptError, match="not finite"):
            generate(model, [[5]], SamplingOptions(max_new_tokens=2, temperature=temperature), seeds=[0])


def test_stop_strings_without_a_decoder_are_refused():
    with pytest.raises(UsageError, match="tokenizer"):
        generate(tiny("llama"), [[5]], SamplingOptions(stop_strings=("x",)), seeds=[0])


def test_a_prompt_of_another_group_is_named_by_its_own_index():
    with pytest.raises(PromptError, match="prompt 3: the model gave") as caught:
        model = tiny("llama")
        with torch.no_grad():
            model.get_input_embeddings().weight[96] = torch.nan
        generate(model, [[5], [7], [8], [6, 96]], SamplingOptions(max_new_tokens=2), seeds=range(4))
    assert caught.value.row == 3


def test_the_attention_of_the_model_and_its_gradients_are_left_as_they_were():
    model = tiny("llama", attention="eager")
    generate(model, prompts(), SamplingOptions(max_new_tokens=3), seeds=range(7))
    assert model.config._attn_implementation == "eager"
    assert torch.is_grad_enabled()
    model(input_ids=torch.tensor([[3, 4, 5]])).logits.sum().backward()
