"""`--train` values: read, spelled back, and held against a model's folder; all without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.train_spec import TrainSpec, check_spec, parse_train
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.tensors import save_tensors

SHAPE = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "spec", "canonical"),
    [
        ("all", TrainSpec(all=True), "all"),
        ("new-rows", TrainSpec(new_rows=True), "new-rows"),
        ("neurons th.st", TrainSpec(neurons=("th.st",)), "neurons=th.st"),
        ("layers 0-3,28-31", TrainSpec(layers=((0, 3), (28, 31))), "layers=0-3,28-31"),
        ("layers=5, 4,1 - 2", TrainSpec(layers=((1, 2), (4, 5))), "layers=1-2,4-5"),
        ("layers=7+embeddings", TrainSpec(embeddings=True, layers=((7, 7),)), "embeddings+layers=7"),
        ("embeddings + new-rows", TrainSpec(new_rows=True, embeddings=True), "new-rows+embeddings"),
        ("neurons=b+neurons=a+layers 0", TrainSpec(neurons=("a", "b"), layers=((0, 0),)), None),
        ("neurons=th+lo all.st", TrainSpec(neurons=("th+lo all.st",)), "neurons=th+lo all.st"),
        ("neurons=th+lo.st+new-rows", TrainSpec(neurons=("th+lo.st",), new_rows=True), "new-rows+neurons=th+lo.st"),
    ],
)
def test_values_are_read_and_spelled_in_one_way(text: str, spec: TrainSpec, canonical: str | None) -> None:
    assert parse_train(text) == spec
    assert spec.text == (canonical or "neurons=a+neurons=b+layers=0")
    assert parse_train(spec.text) == spec


@given(
    words=st.sets(st.sampled_from(["new-rows", "embeddings", "neurons=a.safetensors", "neurons=b/c+d.st"])),
    layers=st.sets(st.integers(0, 40), max_size=20),
    data=st.data(),
)
def test_the_canonical_form_names_the_same_parts_in_any_order(words: set[str], layers: set[int], data: Any) -> None:
    numbers = data.draw(st.permutations(sorted(layers)))
    parts = data.draw(st.permutations([*words, *(["layers=" + ",".join(map(str, numbers))] if layers else [])]))
    if not parts:
        return
    spec = parse_train("+".join(parts))
    assert spec.layer_numbers() == sorted(layers)
    assert all(last + 1 < first for (_, last), (first, _) in zip(spec.layers, spec.layers[1:], strict=False))
    assert parse_train(spec.text) == spec and {f"neurons={name}" for name in spec.neurons} <= words


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("", "empty", "new-rows"),
        ("everything", 'nothing is called "everything"', "all, new-rows"),
        ("new-rows+embedings", 'nothing is called "embedings"', "embeddings?"),
        ("neurons", "needs a value", "neurons=FILE"),
        ("neurons=", "names no file", "lsn-detect"),
        ("neurons=a+neurons=a", "a is named twice", "once"),
        ("all+embeddings", "nothing to add", "--train all"),
        ("new-rows+new-rows", "new-rows is named twice", "once"),
        ("layers=1+layers=2", "layers is named twice", "once"),
        ("layers=3-1", "3-1 runs backwards", "layers=1-3"),
        ("layers=-1", "negative", "from 0"),
        ("layers=-3-1", "negative", "from 0"),
        ("layers=0-3,2-5", "layer 2 is named twice", "layers=0-5"),
        ("layers=4,4", "layer 4 is named twice", "layers=4-4"),
        ("layers=", "no layer", "layers=0-3"),
        ("layers=1,,2", "no layer", "layers=0-3"),
        ("layers=a", "no layer", "layers=0-3"),
        ("layers=9999999999", "no layer", "layers=0-3"),
    ],
)
def test_what_means_nothing_is_refused_with_its_mend(text: str, says: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_train(text)
    assert says in caught.value.what and fix in (caught.value.fix or "")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**SHAPE, "vocab_size": 97}))
    return folder


def neuron_file(path: Path, architecture: Any = None, **metadata: str) -> Path:
    about = {"format": "sea-neurons", "architecture": json.dumps(architecture or SHAPE), "counts": '{"th": 1}'}
    save_tensors(path, {"th/model.layers.0.mlp.up_proj": np.zeros(1, np.int32)}, about | metadata)
    return path


def test_layers_are_those_of_config_json(model: Path) -> None:
    check_spec(parse_train("layers=0-1,3"), model)
    with pytest.raises(UsageError, match="layers 2-4, and .* has 0 to 3") as caught:
        check_spec(parse_train("layers=2-4"), model)
    assert caught.value.fix == "layers=2-3"
    nested = {"model_type": "gemma3", "text_config": {"num_hidden_layers": 2}}
    (model / "config.json").write_text(json.dumps(nested))
    with pytest.raises(UsageError, match="layer 3, and .* has 0 to 1"):
        check_spec(parse_train("layers=0,3"), model)
    (model / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(SeaError, match="no num_hidden_layers"):
        check_spec(parse_train("layers=0"), model)


def test_neuron_files_are_looked_at(model: Path, tmp_path: Path) -> None:
    path = neuron_file(tmp_path / "th.safetensors")
    spec = parse_train(f"neurons={path}")
    check_spec(spec, model, neuron_langs=("th",))
    with pytest.raises(UsageError, match="no neurons for lo") as caught:
        check_spec(spec, model, neuron_langs=("th", "lo"))
    assert caught.value.fix == "there are th"
    with pytest.raises(UsageError, match="no such neuron file"):
        check_spec(parse_train(f"neurons={tmp_path / 'none'}"), model)
    neuron_file(path, SHAPE | {"num_key_value_heads": 4})
    with pytest.raises(SeaError, match="num_key_value_heads 4 there, 2 here"):
        check_spec(spec, model)
    neuron_file(path, format="other")
    with pytest.raises(SeaError, match="not a neuron file"):
        check_spec(spec, model)
    neuron_file(path, architecture="x")
    with pytest.raises(SeaError, match="names no architecture"):
        check_spec(spec, model)
    with pytest.raises(UsageError, match="--train names none"):
        check_spec(parse_train("all"), model, neuron_langs=("th",))


def test_new_rows_need_a_list_or_a_number(model: Path) -> None:
    spec = parse_train("new-rows")
    with pytest.raises(UsageError, match=r"new_rows\.jsonl .*new_tokens\.jsonl") as caught:
        check_spec(spec, model)
    assert "--first-new-row N" in (caught.value.fix or "")
    check_spec(spec, model, first_new_row=90)
    with pytest.raises(UsageError, match="has 97 rows"):
        check_spec(spec, model, first_new_row=97)
    with pytest.raises(UsageError, match="goes with --train new-rows"):
        check_spec(parse_train("all"), model, first_new_row=90)
    (model / "new_tokens.jsonl").write_text('{"token": "a", "id": 95}\n{"id": 96}\n')
    check_spec(spec, model)
    for text, says in (
        ("", "lists no new row"),
        ('{"id": 1}\n[]\n', 'new_rows.jsonl:2: is not a record with an "id"'),
        ('{"id": "7"}\n', "'7' is not an id"),
        ('{"id": true}\n', "True is not an id"),
        ('{"id": 1}\n{"id": 1}\n', "an id twice"),
    ):
        (model / "new_rows.jsonl").write_text(text)
        with pytest.raises(SeaError) as broken:
            check_spec(spec, model)
        assert says in str(broken.value)


def test_the_fingerprint_is_of_what_neuron_files_hold(tmp_path: Path) -> None:
    one, two = neuron_file(tmp_path / "one"), neuron_file(tmp_path / "two")
    first, second = (parse_train(f"neurons={path}+layers=1").fingerprint() for path in (one, two))
    assert first == second and first.endswith("+layers=1") and str(tmp_path) not in first
    neuron_file(two, counts='{"th": 1, "lo": 0}')
    assert parse_train(f"neurons={two}+layers=1").fingerprint() != first


def test_neither_specs_nor_patch_commands_load_torch() -> None:
    code = (
        "import sys, seatools.engine.train_spec, seatools.train.patch_command, seatools.train.merged_patch, "
        "seatools.train.patched_folder; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
