"""The same record gets the same answers: any order, company, limit, shard, engine group, number of processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_llama import write_jsonl

TEXTS = ["abc", "abd", "the cat sat", "the cat sat on", "a", "กข", "x" * 40, "the cat", "hello there", "zz"]
RUN = ["-n", "2", "--max-new-tokens", "7", "-q"]


def lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"prompt": text, "n": n}).encode() + b"\n" for n, text in enumerate(texts))


def answers(output: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in map(json.loads, output.splitlines()):
        assert found.setdefault(record["prompt"], record["responses"]) == record["responses"]
    return found


@pytest.fixture(scope="module")
def alone(byte_model: Path) -> dict[str, list[str]]:
    """What each text gets in a run of its own."""
    from seatools.cli import main

    found = {}
    folder = byte_model.parent / "alone"
    folder.mkdir()
    for n, text in enumerate(TEXTS):
        given_, out = write_jsonl(folder / f"{n}.jsonl", [{"prompt": text}]), folder / f"{n}.out"
        assert main(["sample", str(byte_model), str(given_), *RUN, "-o", str(out)]) == 0
        found |= answers(out.read_bytes())
    return found


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_record_has_its_answers_in_any_company(sea, byte_model, alone, data):
    texts = data.draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=14))
    limit = data.draw(st.integers(1, len(texts)))
    batch = data.draw(st.sampled_from([1, 70, 4096]))
    engine = data.draw(st.sampled_from(["auto", "own", "own", "transformers"]))
    options = [*RUN, "--limit", limit, "--batch-tokens", max(batch, 64), "--engine", engine]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seatools.engine.prompts.GROUP", data.draw(st.sampled_from([1, 4, 128])))
        result = sea("sample", byte_model, *options, stdin=lines(texts))
    assert result.code == 0, result.stderr
    assert [json.loads(line)["n"] for line in result.stdout.splitlines()] == list(range(limit))
    assert answers(result.stdout) == {text: alone[text] for text in set(texts[:limit])}


def test_the_order_of_the_input_changes_no_byte_of_a_line(sea, byte_model, monkeypatch):
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 6)
    given_ = lines(TEXTS).splitlines()
    options = [*RUN, "--best-of", "4", "--dtype", "bf16"]  # where rounding shows, and scores
    whole = sea("sample", byte_model, *options, stdin=b"\n".join(given_)).stdout.splitlines()
    random.Random(1).shuffle(given_)
    again = sea("sample", byte_model, *options, stdin=b"\n".join(given_)).stdout.splitlines()
    assert len(whole) == len(TEXTS) and again != whole
    assert sorted(again) == sorted(whole)


def test_shards_are_the_lines_of_the_whole(sea, byte_model, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 4)
    given_ = lines([*TEXTS, TEXTS[3]])
    options = [*RUN, "--best-of", "3", "--dtype", "bf16"]
    whole = sea("sample", byte_model, *options, stdin=given_).stdout.splitlines()
    parts = [sea("sample", byte_model, *options, "--shard", f"{i}/3", stdin=given_) for i in range(3)]
    assert [part.code for part in parts] == [0, 0, 0]
    shards = [part.stdout.splitlines() for part in parts]
    assert all(shards)
    assert sorted(line for shard in shards for line in shard) == sorted(whole)
    assert all([whole.index(line) for line in shard] == sorted(whole.index(line) for line in shard) for shard in shards)


def test_a_shard_beyond_the_last_unit_is_empty(sea, byte_model, tmp_path):
    out, run = tmp_path / "out.jsonl", ["sample", byte_model, "--max-new-tokens", 7, "--shard"]
    assert len(sea(*run, "0/2", stdin=lines(TEXTS)).stdout.splitlines()) == len(TEXTS)  # one unit
    result = sea(*run, "1/2", "-o", out, stdin=lines(TEXTS))
    assert result.code == 0 and "its output is empty" in result.stderr
    assert out.read_bytes() == b"" and Path(f"{out}.manifest.json").exists()
    assert "is finished" in sea(*run, "1/2", "-o", out, "--resume", stdin=lines(TEXTS)).stderr


@pytest.mark.parametrize("shard", ["3/3", "x", "1", "-1/2"])
def test_what_is_no_shard_is_a_usage_error(sea, byte_model, shard):
    assert sea("sample", byte_model, f"--shard={shard}", stdin=lines(["a"])).code == 2


@pytest.mark.slow
def test_two_processes_write_what_one_writes(sea, byte_model, tmp_path):
    given_ = tmp_path / "p.jsonl"
    given_.write_bytes(lines([f"text {n}" for n in range(200)]))  # four units
    command = ["sample", str(byte_model), str(given_), *RUN]
    assert sea(*command, "-o", tmp_path / "one").code == 0
    subprocess.run(
        [sys.executable, "-P", "-m", "seatools", *command, "--nproc", "2", "-o", str(tmp_path / "two")],
        check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one", "one.manifest.json", "p.jsonl", "two", "two.manifest.json"]


def test_several_processes_need_a_file(sea, byte_model, tmp_path):
    given_ = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a"}])
    result = sea("sample", byte_model, given_, "--nproc", 2)
    assert result.code == 2 and "need a file" in result.stderr


def test_records_that_ask_the_same_get_the_same_answers_made_once(sea, byte_model, monkeypatch):
    from seatools.engine.generator import OwnLoop

    made, run = [], OwnLoop.run

    def counted(self, group, *more):
        made.extend(group)
        return run(self, group, *more)

    monkeypatch.setattr(OwnLoop, "run", counted)
    result = sea("sample", byte_model, "-n", 2, "--max-new-tokens", 5, stdin=lines(["a", "b", "a", "a"]))
    found = [json.loads(line)["responses"] for line in result.stdout.splitlines()]
    assert found[0] == found[2] == found[3] != found[1]
    assert len(made) == 4
    assert "2 of 4 records repeat the prompt of another" in result.stderr


def test_a_repetition_penalty_as_transformers_has_it(sea, byte_model):
    import torch
    from transformers import AutoModelForCausalLM

    from seatools.text.tokenizer import load_tokenizer

    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(byte_model).eval(), load_tokenizer(byte_model)
    options = ["--temperature", 0, "--max-new-tokens", 16, "--repetition-penalty", 1.7, "-q"]
    result = sea("sample", byte_model, *options, stdin=lines(TEXTS))
    plain = sea("sample", byte_model, *options[:4], "-q", stdin=lines(TEXTS))
    found = answers(result.stdout)
    assert found != answers(plain.stdout)
    for text in TEXTS:
        ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
        made = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16, repetition_penalty=1.7,
            eos_token_id=[1, 2],
        )[0, ids.shape[1] :].tolist()  # fmt: skip
        assert found[text][0].rstrip("\ufffd") == tokenizer.decode(made).rstrip("\ufffd")
    assert "repetition_penalty" in json.loads(result.stdout.splitlines()[0])["sampling"]
