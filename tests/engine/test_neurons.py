"""Neuron files: what comes back, what is refused, and for which models they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_families import VOCABULARY, tiny
from tiny_neurons import EVERY, metadata, neurons, places_of, weight_name

from seatools.engine.neurons import Neurons, check_architecture, load_neurons, save_neurons, union
from seatools.streams.errors import SeaError, UsageError


def test_file_gives_back_what_was_written(tmp_path):
    model, path = tiny("llama"), tmp_path / "neurons.safetensors"
    sets = {
        "th": {weight_name("down_proj"): neurons(0, 5, 47), weight_name("k_proj", 0): neurons(15)},
        "zh-Hant": {weight_name("up_proj"): neurons()},
        "en": {},
    }
    save_neurons(path, sets, metadata(model) | {"note": "by hand"})
    read, about = load_neurons(path)
    assert set(read) == set(sets)
    for lang, weights in sets.items():
        assert set(read[lang]) == set(weights)
        for name, expected in weights.items():
            assert np.array_equal(read[lang][name].indices, expected.indices)
            assert np.array_equal(read[lang][name].scores, expected.scores)
    assert about["method"] == "lape" and about["note"] == "by hand" and about["model_type"] == "llama"
    assert json.loads(about["counts"]) == {"th": 4, "zh-Hant": 0, "en": 0}
    check_architecture(about, model)
    assert set(load_file(path)) == {
        key + end for key in ("th/" + weight_name("down_proj"), "th/" + weight_name("k_proj", 0),
                              "zh-Hant/" + weight_name("up_proj")) for end in ("", ".scores")
    }  # fmt: skip


def test_neurons_of_another_architecture_are_refused_with_both_names():
    with pytest.raises(SeaError, match=r"llama \(.*head_dim 8.*qwen3 \(.*head_dim 16"):
        check_architecture(metadata(tiny("llama")), tiny("qwen3"))


def test_a_grown_vocabulary_is_the_same_architecture():
    model = tiny("llama")
    about = metadata(model)
    model.resize_token_embeddings(VOCABULARY + 8)
    check_architecture(about, model)


@pytest.mark.parametrize(
    ("name", "pair", "message"),
    [
        (weight_name("down_proj"), neurons(3, 3), "repeat"),
        (weight_name("down_proj"), neurons(5, 3), "not ascending"),
        (weight_name("down_proj"), neurons(48), "neuron 48 .* out of range"),
        (weight_name("k_proj"), neurons(16), "neuron 16 .* out of range"),
        (weight_name("q_proj"), neurons(-1, 2), "neuron -1 .* out of range"),
        (weight_name("down_proj", 3), neurons(1), "not a weight"),
        ("lm_head", neurons(1), "not a weight"),
        (weight_name("down_proj"), Neurons(np.array([1]), np.ones(1, np.float32)), "int32"),
        (weight_name("down_proj"), Neurons(np.array([1, 2], np.int32), np.ones(1, np.float32)), "score"),
        (weight_name("down_proj"), Neurons(np.array([1], np.int32), np.array([np.nan], np.float32)), "finite"),
    ],
)
def test_wrong_sets_are_refused_on_writing_and_on_reading(tmp_path, name, pair, message):
    path, about = tmp_path / "neurons.safetensors", metadata(tiny("llama"))
    with pytest.raises(SeaError, match=message):
        save_neurons(path, {"th": {name: pair}}, about)
    assert not path.exists()
    marks = {"format": "sea-neurons", "format_version": "2", "counts": json.dumps({"th": len(pair.indices)})}
    save_file({f"th/{name}": pair.indices, f"th/{name}.scores": pair.scores}, path, metadata=about | marks)
    with pytest.raises(SeaError, match=message) as caught:
        load_neurons(path)
    assert str(path) in str(caught.value)


def written(folder: Path) -> Path:
    path = folder / "neurons.safetensors"
    save_neurons(path, {"th": {weight_name("down_proj"): neurons(0, 5, 47)}}, metadata(tiny("llama")))
    return path


def test_a_cut_file_is_refused_at_every_length(tmp_path):
    data = written(tmp_path).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [*range(0, len(data), 7), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(SeaError, match="cut.safetensors"):
            load_neurons(cut)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"model.embed_tokens.weight": np.zeros((2, 2), np.float32)}, path, metadata={"format": "pt"})
    with pytest.raises(SeaError, match="not a neuron file"):
        load_neurons(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": "1"}, {"architecture": "{}"}, {"architecture": "["}, {"counts": '{"th": 2}'},
        {"sizes": "{}"}, {"sizes": "[]"}, {"sizes": json.dumps({weight_name("down_proj"): 0})},
        {"sizes": json.dumps({weight_name("down_proj"): 47})}, {"sizes": json.dumps({weight_name("down_proj"): "48"})},
    ],
)  # fmt: skip
def test_metadata_that_does_not_fit_is_refused(tmp_path, change):
    path = written(tmp_path)
    tensors, about = load_file(path), load_neurons(path)[1]
    save_file(tensors, path, metadata=about | change)
    with pytest.raises(SeaError, match="neurons.safetensors"):
        load_neurons(path)


@pytest.mark.parametrize("missing", ["", ".scores"])
def test_indices_and_scores_without_each_other_are_refused(tmp_path, missing):
    path = written(tmp_path)
    tensors, about = load_file(path), load_neurons(path)[1]
    del tensors["th/" + weight_name("down_proj") + missing]
    save_file(tensors, path, metadata=about)
    with pytest.raises(SeaError, match="beside it"):
        load_neurons(path)


def test_union_of_languages():
    down, up = weight_name("down_proj"), weight_name("up_proj")
    sets = {"th": {down: neurons(1, 4)}, "lo": {down: neurons(4, 6), up: neurons(2)}, "en": {up: neurons(3)}}
    merged = union(sets, ["th", "lo"])
    assert {name: indices.tolist() for name, indices in merged.items()} == {down: [1, 4, 6], up: [2]}
    with pytest.raises(UsageError, match="km.*en, lo, th"):
        union(sets, ["km"])


@pytest.mark.parametrize("family", EVERY)
def test_every_weight_of_every_layout_can_be_stored(tmp_path: Path, family: str) -> None:
    """Fused and transposed weights and those of experts, up to the last index of their axis."""
    model, path = tiny(family), tmp_path / "neurons.safetensors"
    sizes = {view.name: view.size for place in places_of(model) for view in place.views}
    sets = {"th": {name: neurons(0, size - 1) for name, size in sizes.items()}}
    save_neurons(path, sets, metadata(model))
    read, about = load_neurons(path)
    assert {name: row.indices.tolist() for name, row in read["th"].items()} == {n: [0, s - 1] for n, s in sizes.items()}
    assert json.loads(about["sizes"]) == sizes and int(about["num_parameters"]) == model.num_parameters()
    check_architecture(about, model)
    name, size = next(iter(sizes.items()))
    with pytest.raises(SeaError, match=f"neuron {size} of .* out of range"):
        save_neurons(path, {"th": {name: neurons(size)}}, metadata(model))


def test_files_are_read_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from seatools.engine import neurons, neuron_layout; "
        f"sets, _ = neurons.load_neurons({str(written(tmp_path))!r}); assert set(sets) == {{'th'}}; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
