"""One interface to all engines."""

from __future__ import annotations

import pytest
from tiny_families import tiny

from seatools.engine.generate import SamplingOptions, generate
from seatools.engine.generator import ContinuousBatching, OwnLoop, Remote, Request, open_generator
from seatools.engine.prompts import PromptError
from seatools.engine.stop_strings import Generated
from seatools.streams.errors import UsageError

SHORT, LONG = SamplingOptions(max_new_tokens=3), SamplingOptions(max_new_tokens=9)


def requests() -> list[Request]:
    return [Request((3 + row, 5), LONG if row % 3 else SHORT, seed=row) for row in range(10)]


def test_groups_have_one_set_of_options_and_do_not_depend_on_what_is_done():
    generator, asked = OwnLoop(tiny("llama")), requests()
    groups = generator.groups(asked)
    assert sorted(row for group in groups for row in group) == list(range(10))
    assert all(len({asked[row].options for row in group}) == 1 for group in groups)
    assert generator.groups(asked) == groups


@pytest.mark.parametrize("kind", ["own", "transformers"])
def test_run_gives_the_answers_of_generate(kind):
    model, asked = tiny("llama"), requests()
    generator = open_generator(kind, model=model)
    if isinstance(generator, ContinuousBatching):
        generator.num_blocks, generator.page_size, generator.batch_tokens = 16, 16, 64
    counts: list[int] = []
    for group in generator.groups(asked):
        own = [asked[row] for row in group]
        expected = generate(model, [each.ids for each in own], own[0].options, seeds=[each.seed for each in own])
        assert generator.run(own, counts.append) == expected
    assert sum(counts) == 10
    assert generator.run([]) == []


def test_auto_on_a_cpu_is_our_own_loop():
    assert isinstance(open_generator("auto", model=tiny("llama")), OwnLoop)


def test_a_model_that_has_no_pages_is_refused_by_name():
    model = tiny("llama")
    model.config.layer_types = ["linear_attention"] * 3
    with pytest.raises(UsageError, match="LlamaForCausalLM.*linear_attention"):
        open_generator("transformers", model=model)


def test_a_group_of_different_options_is_a_defect():
    with pytest.raises(ValueError, match="different options"):
        OwnLoop(tiny("llama")).run(requests()[:2])


def test_a_url_opens_a_server_and_wants_text():
    generator = open_generator("http://localhost:1/v1", name="m")
    assert isinstance(generator, Remote)
    assert generator.needs_text
    with pytest.raises(PromptError, match="tokens only"):
        generator.run([Request((1,), SHORT)])
    with pytest.raises(UsageError, match="name of a model"):
        open_generator("https://localhost/v1")


def test_a_prompt_that_a_server_refuses_costs_the_others_no_second_request():
    asked: list[str] = []

    class Picky:
        def stream(self, texts, options, *, seeds):
            for row, text in enumerate(texts):
                asked.append(text)
                if text.startswith("bad"):
                    raise PromptError(row, "refused")
                yield row, Generated([], "stop", text.upper())

    generator, counted = Remote(Picky()), []
    group = [Request((), SHORT, text=text) for text in ("a", "b", "a", "bad", "c")]
    with pytest.raises(PromptError, match="prompt 3: refused"):
        generator.run(group, counted.append)
    made = generator.run([one for one in group if one.text != "bad"], counted.append)
    assert [one.text for one in made] == ["A", "B", "A", "C"]
    assert asked == ["a", "b", "bad", "c"] and counted == [2, 1, 1]


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match="unknown engine 'fast'"):
        open_generator("fast")
