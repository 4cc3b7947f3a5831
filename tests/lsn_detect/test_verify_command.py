"""`sea lsn-detect verify` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bilingual import NEURONS, TEXTS, language_sets, save_sets, write_bilingual
from tiny_llama import write_model, write_tokenizer

from seatools.engine.load import load_model
from seatools.engine.neurons import Neurons

FAST = ("--bootstrap", 100, "--random", 2, "--outputs", 2, "--max-new-tokens", 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bilingual(tmp_path_factory.mktemp("bilingual"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(folder, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def neurons(folder: Path, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The neurons that matter to Thai and English."""
    return save(tmp_path_factory.mktemp("neurons") / "neurons.safetensors", language_sets(model), model, folder)


def save(path: Path, sets: Any, model: Any, folder: Path) -> Path:
    from seatools.streams.digests import folder_digest

    return save_sets(path, sets, model, model_digest=folder_digest(folder))


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """--data arguments of both languages."""
    for lang, texts in TEXTS.items():
        (tmp_path / f"{lang}.txt").write_text("\n".join(texts) + "\n", "utf-8")
    return ["--data", f"th={tmp_path}/th.txt", "--data", f"en={tmp_path}/en.txt"]


@pytest.fixture
def verify(sea: Any, folder: Path, neurons: Path, data: list[str]) -> Callable[..., Any]:
    """`verify("--seed", 3)`: the run over both languages, with these further arguments."""
    return lambda *more, **kwargs: sea("lsn-detect", "verify", folder, neurons, *data, *FAST, *more, **kwargs)


def records_of(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_language_is_hit_hardest_by_its_own_set(sea, verify, folder, data):
    records = records_of(result := verify("--better-than-random", "--min-selectivity", 10))
    assert "warning" not in result.stderr
    assert [(row["record"], row["off"], row.get("scored")) for row in records] == [
        ("cell", "th", "th"), ("cell", "th", "en"), ("summary", "th", None),
        ("cell", "en", "th"), ("cell", "en", "en"), ("summary", "en", None),
    ]  # fmt: skip
    for row in records[2::3]:
        assert row["own"] > 2 > abs(row["random_own"]) and row["neurons"] == NEURONS and row["parallel"] is True
    # What the whole model scores is what `sea eval` says of it.
    scores = [json.loads(line) for line in sea("eval", folder, "perplexity", *data).stdout.splitlines()]
    assert [row["bits_per_byte"] for row in records[:2]] == pytest.approx([row["value"] for row in scores], rel=1e-5)
    assert records[0]["outputs"]["prompts"] == 2 and records[0]["random_outputs"]["prompts"] == 4


def test_the_same_run_writes_the_same_bytes(verify, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        result = verify("-o", tmp_path / f"{name}.jsonl", "--plot", tmp_path / f"{name}.png", "--outputs", 0)
        assert (result.code, result.stdout) == (0, b"")
    for ending in ("jsonl", "png"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    manifest = json.loads((tmp_path / "a.jsonl.manifest.json").read_text())
    assert manifest["counts"]["passes"] == 1 + 2 * (1 + 2) and manifest["command"] == "lsn-detect verify"
    assert len(manifest["inputs"]) == 4


def test_random_sets_are_warned_about_and_fail_the_check_after_all_is_written(
    sea, folder, model, data, neurons, tmp_path
):
    import seatools.lsn_detect.switched_off as switched_off
    from seatools.engine.neuron_layers import find_layers

    places = find_layers(model).all_places()
    _, (random,) = switched_off.matched_controls(places, language_sets(model), ["th", "en"], number=1, seed=17)
    path = save(tmp_path / "random.safetensors", random, model, folder)
    out = tmp_path / "v.jsonl"
    result = sea("lsn-detect", "verify", folder, path, *data, *FAST, "--outputs", 0, "--better-than-random", "-o", out)
    assert result.code == 3, result.stderr
    assert "the neurons of th do no better than random ones" in result.stderr
    assert "th does no better than random; en does no better than random" in result.stderr
    assert len(out.read_bytes().splitlines()) == 6 and Path(f"{out}.manifest.json").exists()


def test_langs_leaves_out_what_has_no_text_and_stdin_is_read_once(sea, folder, neurons, tmp_path):
    text = b"".join(json.dumps({"text": line}).encode() + b"\n" for line in TEXTS["th"])
    arguments = ("--data", "th=-", "--outputs", 0, "--random", 0, "--bootstrap", 100)
    result = sea("lsn-detect", "verify", folder, neurons, *arguments, "--langs", "th", stdin=text)
    cell, summary = records_of(result)
    assert cell["texts"] == len(TEXTS["th"]) and cell["random_change"] is None and cell["outputs"] is None
    assert summary["others"] is None and summary["selectivity"] is None and summary["better_than_random"] is None
    assert sea("lsn-detect", "verify", folder, neurons, *arguments, stdin=text).code == 2  # en has no text


def test_a_dry_run_reads_and_writes_nothing(verify, tmp_path):
    result = verify("--dry-run", "-o", tmp_path / "v.jsonl")
    assert result.code == 0 and "7 passes over 72 texts of 2 languages" in result.stderr
    assert not (tmp_path / "v.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--langs", "vi"], 2, 'no neurons of language "vi"'),
        (["--langs", ","], 2, "--langs names no language"),
        (["--bootstrap", 10], 2, "--bootstrap is 10; it must be at least 100"),
        (["--random", -1], 2, "--random is -1"),
        (["--random", 1, "--better-than-random"], 2, "needs two draws"),
        (["--min-selectivity", "nan"], 2, "--min-selectivity nan"),
        (["--lang-id", "magic"], 2, 'no language identifier "magic"'),
        (["--seq-len", 1000], 2, "more than the model's 128 positions"),
        (["--max-new-tokens", 128], 2, "leaves no room for a prompt"),
        (["--plot", "m.txt"], 2, "unknown kind of picture"),
        (["--data", "x.txt"], 2, '"x.txt" has no language'),
        (["--limit", 1], 1, "th: 1 texts to score"),
        (["--data", "vi=nowhere.txt"], 1, "no such file"),
    ],
)
def test_bad_arguments_are_named(verify, arguments, code, message):
    result = verify(*arguments)
    assert (result.code, result.stdout) == (code, b"") and message in result.stderr


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [(["", " "], 1, "empty"), (["same", "same two"] * 2, 0, "4 texts; intervals of so few are too narrow")],
)
def test_text_that_is_too_little(sea, folder, neurons, tmp_path, lines, code, message):
    (tmp_path / "th.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), "utf-8")
    result = sea(
        "lsn-detect", "verify", folder, neurons, "--data", f"th={tmp_path}/th.jsonl", "--langs", "th", "--dry-run"
    )
    assert result.code == code and message in result.stderr


def test_neurons_of_another_architecture_destroy_nothing(sea, neurons, data, tmp_path):
    other = write_model(tmp_path / "other", intermediate_size=40)
    write_tokenizer(other)
    out = tmp_path / "v.jsonl"
    out.write_bytes(b"old")
    result = sea("lsn-detect", "verify", other, neurons, *data, *FAST, "-o", out, "--force")
    assert result.code == 1 and f"{neurons}: neurons of another architecture" in result.stderr
    assert out.read_bytes() == b"old"


def test_text_of_detection_and_other_weights_are_warned_about(sea, folder, model, data, tmp_path):
    from seatools.lsn_detect.corpora import corpora_digests

    digests = corpora_digests({"th": [f"{tmp_path}/th.txt"]})
    path = tmp_path / "n.safetensors"
    off = {"th": {"model.layers.0.mlp.down_proj": Neurons(np.array([1], np.int32), np.zeros(1, np.float32))}}
    save_sets(path, off, model, corpora=digests)
    result = sea("lsn-detect", "verify", folder, path, *data, "--outputs", 0, "--random", 0, "--bootstrap", 100)
    assert len(records_of(result)) == 3
    assert "th: the text is that on which" in result.stderr and "found in other weights" in result.stderr


def test_two_processes_measure_what_one_does(verify, tmp_path):
    for name, more in (("one", ()), ("two", ("--nproc", 2))):
        result = verify(*more, "-o", tmp_path / name)
        assert result.code == 0, result.stderr
    rows = [[json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 6
    for one, two in zip(*rows, strict=True):
        assert one.keys() == two.keys()
        assert one.get("outputs") == two.get("outputs")
        for key in ("change", "own", "others"):
            assert (key in one) == (key in two)
            assert one.get(key, 0) == pytest.approx(two.get(key, 0), rel=1e-5, abs=1e-7)
