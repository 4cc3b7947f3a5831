"""`sea sample` from the command line."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
import torch
from tiny_llama import write_jsonl

from seatools.engine.generator import OwnLoop
from seatools.text.tokenizer import load_tokenizer

PROMPTS = ["abc", "ab", "the cat", "a", "longer than the others by far", "กข"]
ODD_LINES = [
    b'{ "prompt" : "a b" , "n": 1.0e3 }',
    b'{"n": 123456789012345678901234567890, "prompt": "\\u0061"}',
    b'{"id": 1.10, "prompt": "c", "lang": "th", "\\u00e9": null}',
]
USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "yes"}
SYSTEM = {"role": "system", "content": "be kind"}


def records(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def prompts(texts=PROMPTS) -> bytes:
    return lines(*({"prompt": text} for text in texts))


@pytest.fixture
def sample(sea):
    """The records that `sea sample` prints."""

    def run(*args: object, stdin: bytes = b"") -> list[dict]:
        result = sea("sample", *args, stdin=stdin)
        assert result.code == 0, result.stderr
        return records(result.stdout)

    return run


def answers_by_prompt(found: list[dict]) -> dict[str, list[str]]:
    return {record["prompt"]: record["responses"] for record in found}


# The records


def test_the_record_stays_byte_for_byte_and_gains_responses_and_sampling(sea, byte_model):
    result = sea("sample", byte_model, "-n", 2, "--max-new-tokens", 4, stdin=b"\n".join(ODD_LINES))
    assert result.code == 0, result.stderr
    for line, out in zip(ODD_LINES, result.stdout.splitlines(), strict=True):
        assert out.startswith(b"{" + line[1:-1].strip() + b',"responses":[')
        assert list(json.loads(out))[-2:] == ["responses", "sampling"]


def test_old_responses_are_replaced(sample, byte_model):
    (found,) = sample(byte_model, "--max-new-tokens", 4, stdin=lines({"responses": ["old", "old"], "prompt": "a"}))
    assert list(found) == ["prompt", "responses", "sampling"]
    assert len(found["responses"]) == 1


def test_the_settings_are_in_the_record(sample, byte_model):
    (found,) = sample(
        byte_model, "--max-new-tokens", 3, "--temperature", 0.5, "--top-k", 9, "--stop", "zz", "--system", "be kind",
        "--seed", 7, stdin=lines({"prompt": [USER]}),
    )  # fmt: skip
    expected = {"temperature": 0.5, "top_k": 9, "max_new_tokens": 3, "seed": 7, "stop": ["zz"], "system": "be kind"}
    assert expected.items() <= found["sampling"].items()
    assert len(found["sampling"]["finish"]) == 1


def test_txt_lines_are_prompts(sample, byte_model, tmp_path):
    (tmp_path / "p.txt").write_text("abc\n\nthe cat\n")
    found = sample(byte_model, tmp_path / "p.txt", "--max-new-tokens", 8)
    assert answers_by_prompt(found) == answers_by_prompt(
        sample(byte_model, "--max-new-tokens", 8, stdin=prompts(["abc", "the cat"]))
    )


def test_limit_reads_that_many_records(sample, byte_model):
    found = sample(byte_model, "--limit", 2, "--max-new-tokens", 1, stdin=prompts())
    assert [record["prompt"] for record in found] == PROMPTS[:2]


# The same record gets the same answers


def test_answers_do_not_depend_on_the_company_of_a_record(sample, model):
    run = [model, "-n", 2, "--max-new-tokens", 12]
    together = answers_by_prompt(sample(*run, stdin=prompts()))
    assert answers_by_prompt(sample(*run, stdin=prompts(PROMPTS[::-1]))) == together
    for text in PROMPTS[:3]:
        assert answers_by_prompt(sample(*run, stdin=prompts([text])))[text] == together[text]
    assert len({text for texts in together.values() for text in texts}) > len(PROMPTS)


@pytest.mark.parametrize("batch_tokens", [1, 60])
def test_answers_do_not_depend_on_the_batch(sample, model, batch_tokens):
    run = [model, "-n", 2, "--max-new-tokens", 12]
    found = sample(*run, "--batch-tokens", batch_tokens, stdin=prompts())
    assert found == sample(*run, stdin=prompts())
    assert [record["prompt"] for record in found] == PROMPTS


def test_answers_do_not_depend_on_the_units(sample, byte_model, monkeypatch):
    run = [byte_model, "-n", 2, "--max-new-tokens", 6]
    expected = sample(*run, stdin=prompts())
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 4)
    assert sample(*run, stdin=prompts()) == expected


def test_n_answers_begin_with_the_one(sample, byte_model):
    one = sample(byte_model, "--max-new-tokens", 12, stdin=prompts())
    three = sample(byte_model, "-n", 3, "--max-new-tokens", 12, stdin=prompts())
    for single, several in zip(one, three, strict=True):
        assert len(set(several["responses"])) == len(several["sampling"]["finish"]) == 3
        assert several["responses"][:1] == single["responses"]


def test_another_seed_gives_other_answers(sample, byte_model):
    answers = [
        sample(byte_model, "--seed", seed, "--max-new-tokens", 12, stdin=prompts(["abc"]))[0]["responses"][0]
        for seed in (0, 1, 2)
    ]
    assert len(set(answers)) == 3


# What the model made


def test_temperature_zero_is_the_greedy_search_of_transformers(sample, model):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(model).eval()
    tokenizer = load_tokenizer(model)
    found = answers_by_prompt(sample(model, "--temperature", 0, "--max-new-tokens", 12, stdin=prompts()))
    for text in PROMPTS:
        ids = [tokenizer.bos_id, *tokenizer.encode(text)]
        given = torch.tensor([ids])
        made = theirs.generate(
            given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=12, eos_token_id=[1, 2]
        )[0].tolist()
        whole = tokenizer.decode(made)
        assert (text + found[text][0]).rstrip("\ufffd") == whole.rstrip("\ufffd")
    assert len({texts[0] for texts in found.values()}) > 2


def test_prompt_and_response_decode_to_what_the_model_made(sample, model, monkeypatch):
    made: list = []
    run = OwnLoop.run

    def recorded(*args):
        made.extend(run(*args))
        return made

    monkeypatch.setattr(OwnLoop, "run", recorded)
    found = sample(model, "-n", 8, "--max-new-tokens", 12, "--temperature", 2, stdin=prompts(["the cat"]))
    tokenizer = load_tokenizer(model)
    before = tokenizer.encode("the cat")
    for text, item in zip(found[0]["responses"], made, strict=True):
        whole = tokenizer.decode(before + item.ids)
        assert "the cat" + text == (whole.rstrip("\ufffd") if item.finish == "length" else whole)
    if tokenizer.kind.startswith("sentencepiece"):  # it takes a space off the beginning of a text
        assert any(text.startswith(" ") for text in found[0]["responses"])


def test_no_answer_that_was_cut_off_ends_in_a_torn_character(sample, byte_model):
    found = sample(byte_model, "-n", 40, "--max-new-tokens", 5, stdin=prompts(["abc"]))
    answers = zip(found[0]["responses"], found[0]["sampling"]["finish"], strict=True)
    cut = [text for text, finish in answers if finish == "length"]
    assert len(cut) > 20
    assert not any(text.endswith("\ufffd") for text in cut)


def test_max_new_tokens_is_the_longest_answer(sample, byte_model):
    (found,) = sample(byte_model, "-n", 20, "--max-new-tokens", 5, stdin=prompts(["abc"]))
    assert max(map(len, found["responses"])) <= 5  # a token is a byte
    (found,) = sample(byte_model, "-n", 20, "--max-new-tokens", 30, stdin=prompts(["abc"]))
    assert max(map(len, found["responses"])) > 5


@pytest.mark.parametrize("place", [0, 3])
def test_a_stop_string_cuts_exactly_before_itself(sample, model, place):
    run = [model, "-n", 30, "--max-new-tokens", 16]
    free = sample(*run, stdin=prompts(["abc"]))[0]["responses"]
    spaces_first = sorted(range(30), key=lambda number: free[number][place : place + 1] != " ")
    number = next(number for number in spaces_first if free[number][place : place + 2].isascii())
    text = free[number]
    stop = text[place : place + 2]
    (found,) = sample(*run, "--stop", stop, "--stop", "never made", stdin=prompts(["abc"]))
    assert found["responses"][number] == text[: text.index(stop)]
    assert found["sampling"]["finish"][number] == "stop"
    assert not any(stop in text for text in found["responses"])


# Chats


def test_messages_go_through_the_chat_template(sample, byte_model):
    run = [byte_model, "-n", 3, "--max-new-tokens", 12]
    as_text = sample(*run, stdin=prompts(["<|user|>hi<|assistant|>"]))[0]["responses"]
    stripped = [text.strip() for text in as_text]
    assert sample(*run, stdin=lines({"prompt": [USER]}))[0]["responses"] == stripped
    assert sample(*run, stdin=lines({"messages": [USER]}))[0]["responses"] == stripped
    assert sample(*run, stdin=lines({"messages": [USER, ASSISTANT]}))[0]["responses"] == stripped


def test_a_chat_record_gains_its_prompt_for_judge_and_dpo(sea, byte_model):
    line = b'{ "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], "n": 1.0 }'
    result = sea("sample", byte_model, "--max-new-tokens", 3, stdin=line)
    assert result.code == 0, result.stderr
    added = b',"prompt":[{"role":"user","content":"hi"}],"responses":['
    assert result.stdout.startswith(b"{" + line[1:-1].strip() + added)


def test_system_is_a_turn_where_none_is(sample, byte_model):
    run = [byte_model, "-n", 100, "--max-new-tokens", 2]  # some of so many begin or end in white space
    with_turn = sample(*run, stdin=lines({"prompt": [SYSTEM, USER]}))[0]["responses"]
    plain = sample(*run, stdin=lines({"prompt": [USER]}))[0]["responses"]
    option = [*run, "--system", "be kind"]
    assert with_turn != plain
    assert sample(*option, stdin=lines({"prompt": [USER]}))[0]["responses"] == with_turn
    assert sample(*option, stdin=lines({"prompt": "hi"}))[0]["responses"] == with_turn
    assert sample(*option, stdin=lines({"messages": [USER, ASSISTANT]}))[0]["responses"] == with_turn
    other = {"role": "system", "content": "be quick"}
    kept = sample(*option, stdin=lines({"prompt": [other, USER]}))[0]["responses"]
    assert kept == sample(*run, stdin=lines({"prompt": [other, USER]}))[0]["responses"] != with_turn


def test_system_needs_a_chat_template(sea, piece_model):
    result = sea("sample", piece_model, "--system", "be kind", stdin=prompts())
    assert result.code == 2
    assert "--chat-template" in result.stderr


def test_a_template_may_come_from_a_file(sample, byte_model, piece_model, tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}")
    run = [piece_model, "--max-new-tokens", 8]
    found = sample(*run, "--chat-template", tmp_path / "t.jinja", stdin=lines({"prompt": [USER]}))
    assert found[0]["responses"] == [sample(*run, stdin=prompts(["hi"]))[0]["responses"][0].strip()]


# Bad input

BAD = {
    "empty": (b'{"prompt": ""}', "empty"),
    "no prompt": (b'{"id": 1}', 'neither "prompt" nor "messages"'),
    "a text record": (b'{"text": "a"}', 'neither "prompt" nor "messages"'),
    "a number": (b'{"prompt": 3}', "not a string"),
    "no turns": (b'{"prompt": []}', "not a list of messages"),
    "turn without content": (b'{"prompt": [{"role": "user"}]}', "not a string"),
    "turn that is text": (b'{"prompt": ["hi"]}', "role"),
    "nothing but an answer": (lines({"messages": [ASSISTANT]}).strip(), "before the assistant's turn"),
    "answered already": (lines({"prompt": [USER, ASSISTANT]}).strip(), "ends with an assistant turn"),
    "too long": (lines({"prompt": "a" * 125}).strip(), "126 tokens, the model has room for 124"),
    "not JSON": (b"abc", "broken JSON"),
    "NUL": (b'{"prompt": "a\\u0000"}', "NUL"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_stops_the_run_and_is_named(sea, byte_model, tmp_path, name):
    bad, words = BAD[name]
    (tmp_path / "p.jsonl").write_bytes(b'{"prompt": "a"}\n' + bad + b"\n")
    out = tmp_path / "out.jsonl"
    result = sea("sample", byte_model, tmp_path / "p.jsonl", "--max-new-tokens", 4, "-o", out)
    assert result.code == 1
    assert "p.jsonl:2: " in result.stderr
    assert words in result.stderr
    assert os.listdir(tmp_path) == ["p.jsonl"]


def test_bad_records_are_kept_with_their_reasons(sea, byte_model, tmp_path):
    bad = [line for line, _ in BAD.values()]
    (tmp_path / "p.jsonl").write_bytes(b"\n".join([b'{"prompt": "a"}', *bad, b'{"prompt": "b"}']))
    out = tmp_path / "out.jsonl"
    result = sea(
        "sample", byte_model, tmp_path / "p.jsonl", "--max-new-tokens", 4, "-o", out, "--on-error", "quarantine"
    )
    assert result.code == 0, result.stderr
    assert [record["prompt"] for record in records(out.read_bytes())] == ["a", "b"]
    kept = records((tmp_path / "out.jsonl.quarantine.jsonl").read_bytes())
    assert {row["raw"].encode() for row in kept} == set(bad)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert sum(manifest["rejects"].values()) == len(BAD)
    assert f"{len(BAD)} rejected" in result.stderr


def test_messages_without_a_template_are_bad_records(sea, piece_model):
    given = lines({"prompt": [USER]}, {"prompt": "abc"})
    result = sea("sample", piece_model, "--max-new-tokens", 4, stdin=given)
    assert result.code == 1
    assert "stdin:1: " in result.stderr and "--chat-template" in result.stderr
    result = sea("sample", piece_model, "--max-new-tokens", 4, "--on-error", "skip", stdin=given)
    assert result.code == 0
    assert [record["prompt"] for record in records(result.stdout)] == ["abc"]


@pytest.mark.parametrize("given", [b"", b"\n\n", b"bad\n"])
def test_no_prompt_at_all_fails_before_a_model_is_loaded(sea, byte_model, monkeypatch, given):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    result = sea("sample", byte_model, "--max-new-tokens", 4, "--on-error", "skip", stdin=given)
    assert result.code == 1
    assert "stdin: no prompt to answer" in result.stderr
    assert result.stdout == b""


def test_a_dry_run_says_what_would_be_done_loads_no_model_and_writes_nothing(sea, byte_model, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    arguments = ("-n", 2, "--max-new-tokens", 4, "-o", tmp_path / "out", "--on-error", "quarantine", "--dry-run")
    result = sea("sample", byte_model, *arguments, stdin=prompts(["abc", "ab"]) + b"bad\n")
    assert (result.code, result.stdout) == (0, b"")
    assert "2 prompts, the longest of 4 tokens: would write 4 answers" in result.stderr
    assert "1 rejected" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_usable_prompt_fails(sea, byte_model):
    result = sea("sample", byte_model, "--max-new-tokens", 4, "--on-error", "skip", stdin=lines({"prompt": "a" * 999}))
    assert result.code == 1
    assert "no prompt to answer" in result.stderr


def test_an_answer_longer_than_the_model_is_a_usage_error(sea, byte_model):
    result = sea("sample", byte_model, "--max-new-tokens", 128, stdin=prompts(["a"]))
    assert result.code == 2
    assert "128 positions" in result.stderr


# Input and output


def test_an_existing_output_stays_unless_forced(sea, byte_model, tmp_path):
    given, out = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a"}]), tmp_path / "out.jsonl"
    out.write_bytes(b"precious")
    run = ["sample", byte_model, given, "--max-new-tokens", 4, "-o", out]
    assert sea(*run).code == 2
    assert out.read_bytes() == b"precious"
    assert sea(*run, "--force").code == 0
    assert len(records(out.read_bytes())) == 1


def test_the_output_may_not_be_the_input(sea, byte_model, tmp_path):
    given = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a"}])
    before = given.read_bytes()
    result = sea("sample", byte_model, given, "-o", given, "--force")
    assert result.code == 2
    assert "both input and output" in result.stderr
    assert given.read_bytes() == before


def test_the_output_may_not_be_the_models_weights(sea, byte_model, tmp_path):
    given = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a"}])
    result = sea("sample", byte_model, given, "-o", byte_model / "model.safetensors", "--force")
    assert result.code == 2 and "both input and output" in result.stderr


def test_stdin_is_spooled_privately_before_the_model_is_loaded(sea, byte_model, tmp_path, monkeypatch):
    from seatools.engine import load

    given, seen, load_model = prompts(), {}, load.load_model

    def looking(*args, **kwargs):
        spools = list(tmp_path.iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in spools} == {0o600}
        (spool,) = (file for file in spools if file.suffix == ".jsonl")
        seen.update(content=spool.read_bytes(), mode=stat.S_IMODE(spool.stat().st_mode))
        return load_model(*args, **kwargs)

    monkeypatch.setattr(load, "load_model", looking)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = sea("sample", byte_model, "--max-new-tokens", 1, stdin=given)
    assert result.code == 0, result.stderr
    assert seen == {"content": given, "mode": 0o600}
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_stands_beside_the_output(sea, byte_model, tmp_path):
    out = tmp_path / "out.jsonl"
    result = sea("sample", byte_model, "-n", 2, "--max-new-tokens", 4, "--seed", 3, "-o", out, stdin=prompts())
    assert result.code == 0, result.stderr
    assert result.stdout == b""
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["command"] == "sample"
    assert manifest["seed"] == 3
    assert {"prompts": 6, "responses": 12}.items() <= manifest["counts"].items()
    assert {"num": 2, "max_new_tokens": 4}.items() <= manifest["options"].items()
    assert [row["path"] for row in manifest["inputs"]] == [str(byte_model), "-"]
    assert all(row["sha256"] for row in manifest["inputs"] + manifest["outputs"])


def test_two_runs_write_the_same_bytes(sea, byte_model, tmp_path):
    for name in ("a", "b"):
        assert sea("sample", byte_model, "--max-new-tokens", 8, "-o", tmp_path / name, stdin=prompts()).code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
