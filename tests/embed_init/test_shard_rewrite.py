"""Safetensors files with some tensors replaced, and every other byte as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from synthetic_checkpoint import WIDTH, Stored, read_files, write_checkpoint
from tiny_folders import byte_level

from seatools.embed_init.checkpoint import read_checkpoint
from seatools.embed_init.matrix_edit import ZERO, MatrixEdit
from seatools.streams.shard_rewrite import shard_bytes


def test_wider_tensors_behind_a_matrix_that_grew_stay_aligned(tmp_path: Path) -> None:
    """bf16 [2, 3] and then fp32 [2]: with a third row the fp32 would begin at byte 18."""
    table = np.arange(6, dtype=np.uint16)
    header = {
        "__metadata__": {"format": "pt"},
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "norm": {"dtype": "F32", "shape": [2], "data_offsets": [12, 20]},
        "flag": {"dtype": "BOOL", "shape": [], "data_offsets": [20, 21]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = table.tobytes() + np.float32([1.5, 2.5]).tobytes() + b"\x01"
    source = tmp_path / "model.safetensors"
    source.write_bytes(len(text).to_bytes(8, "little") + text + data)
    (tmp_path / "config.json").write_text('{"vocab_size": 2, "hidden_size": 3}')
    checkpoint = read_checkpoint(tmp_path)
    row = np.array([[7, 8, 9]], dtype=np.uint16)
    edit = MatrixEdit(checkpoint.embedding, np.array([1, 0, ZERO]), np.array([2]), row)
    target = tmp_path / "out.safetensors"
    blocks = shard_bytes(source, checkpoint.files["model.safetensors"], {"model.embed_tokens.weight": edit})
    target.write_bytes(b"".join(map(bytes, blocks)))
    tensors = load_file(target)
    bits = tensors["model.embed_tokens.weight"].view(torch.uint16)
    assert bits.tolist() == [[3, 4, 5], [0, 1, 2], [7, 8, 9]]
    assert tensors["norm"].tolist() == [1.5, 2.5] and tensors["flag"].item() is True
    length = int.from_bytes(target.read_bytes()[:8], "little")
    written = json.loads(target.read_bytes()[8 : 8 + length])
    assert written["norm"]["data_offsets"][0] % 4 == 0 and written["__metadata__"] == {"format": "pt"}


_OTHERS = st.lists(
    st.tuples(st.sampled_from(sorted(WIDTH)), st.lists(st.integers(0, 5), max_size=3).map(tuple)), max_size=6
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtypes=st.tuples(*[st.sampled_from(["F32", "F16", "BF16"])] * 3),
    head=st.sampled_from(["tied", "stored and tied", "untied"]),
    bias=st.booleans(),
    others=_OTHERS,
    columns=st.integers(1, 5),
    multiple=st.sampled_from([1, 8]),
    num_files=st.integers(1, 3),
    seed=st.integers(0, 99),
    link=st.booleans(),
)
def test_no_other_tensor_changes_whatever_stands_beside(
    tokenizers: tuple[Path, Path], sea: Callable[..., Any], dtypes: tuple[str, ...], head: str, bias: bool,
    others: list[tuple[str, tuple[int, ...]]], columns: int, multiple: int, num_files: int, seed: int, link: bool,
) -> None:  # fmt: skip
    """Any order of tensors in any files, scalars, empty and quantised ones: all but the three matrices keep their
    bytes, old rows theirs, and the safetensors package reads the result."""
    base, new = tokenizers
    random = np.random.default_rng(seed)
    tensors = [Stored("model.embed_tokens.weight", dtypes[0], (259, columns))]
    if head != "tied":
        tensors.append(Stored("lm_head.weight", dtypes[1], (259, columns)))
    if bias:
        tensors.append(Stored("lm_head.bias", dtypes[2], (259,)))
    tensors += [Stored(f"layers.{n}.x", dtype, shape) for n, (dtype, shape) in enumerate(others)]
    tensors = [tensors[n].filled(random) for n in random.permutation(len(tensors))]
    bounds = sorted(random.integers(0, len(tensors) + 1, num_files - 1))
    files = [tensors[first:last] for first, last in pairwise([0, *bounds, len(tensors)])]
    files = [sorted(file, key=lambda tensor: -WIDTH[tensor.dtype]) for file in files if file]  # else torch reads none
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = {"vocab_size": 259, "hidden_size": columns, "tie_word_embeddings": head != "untied"}
        write_checkpoint(folder / "base", files, config)
        flags = ["--pad-to-multiple", multiple, "--old-tokenizer", base, *(["--link"] if link else [])]
        result = sea("embed-init", folder / "base", "--tokenizer", new, "-o", folder / "out", *flags)
        assert result.code == 0, result.stderr
        made = read_files(folder / "out")
        rows = -(-261 // multiple) * multiple
        assert made.keys() == {tensor.name for tensor in tensors}
        for tensor in tensors:
            if tensor.name.startswith("layers."):
                assert made[tensor.name] == tensor
                continue
            assert (made[tensor.name].dtype, made[tensor.name].shape) == (tensor.dtype, (rows, *tensor.shape[1:]))
            row = len(tensor.data) // 259
            # One special token was put before the old ones.
            assert made[tensor.name].data[row : 260 * row] == tensor.data
            assert not any(made[tensor.name].data[261 * row :])
        for path in (folder / "out").glob("*.safetensors"):
            with safe_open(path, "pt") as opened:
                assert all(opened.get_tensor(name).shape == made[name].shape for name in opened.keys())  # noqa: SIM118


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """259 tokens, and the same behind one special token more, with one merge more."""
    folder = tmp_path_factory.mktemp("tokenizers")
    merges = [(b"a", b"b"), (b"c", b"d")]
    old = byte_level(folder / "old", merges[:1])
    return old, byte_level(folder / "new", merges, first=["[A]", "<s>", "</s>"])


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "I32", "F64"])
@pytest.mark.parametrize("tensor", ["model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"])
def test_a_vocabulary_matrix_of_a_dtype_without_rounding_is_refused(
    tmp_path: Path, tokenizers: tuple[Path, Path], sea: Callable[..., Any], dtype: str, tensor: str
) -> None:
    random = np.random.default_rng(0)
    names = {"model.embed_tokens.weight": (259, 2), "lm_head.weight": (259, 2), "lm_head.bias": (259,)}
    tensors = [Stored(name, dtype if name == tensor else "F32", shape).filled(random) for name, shape in names.items()]
    config = {"vocab_size": 259, "hidden_size": 2, "tie_word_embeddings": False}
    base = write_checkpoint(tmp_path / "base", [tensors], config)
    flags = ["--tokenizer", tokenizers[1], "--old-tokenizer", tokenizers[0], "-o", tmp_path / "out"]
    result = sea("embed-init", base, *flags)
    assert result.code == 1 and f'"{tensor}" is stored as {dtype}' in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", ["model.embed_tokens.weight_scale", "lm_head.weight_scale_inv"])
def test_the_neighbours_of_a_quantised_layer_go_along(
    tmp_path: Path, tokenizers: tuple[Path, Path], sea: Callable[..., Any], scale: str
) -> None:
    """fp8 weights with fp32 scales, packed 4-bit weights with their zero points: as they were. Scales of a vocabulary
    matrix say that it is quantised itself, even where its dtype does not."""
    random = np.random.default_rng(0)
    layers = [
        Stored("model.layers.0.mlp.up_proj.weight", "F8_E4M3", (6, 4)), Stored("lm_head.weight", "BF16", (259, 4)),
        Stored("model.layers.0.mlp.up_proj.weight_scale_inv", "F32", (1, 1)), Stored("a.qweight", "I32", (3, 4)),
        Stored("a.qzeros", "U8", (3,)), Stored("model.embed_tokens.weight", "BF16", (259, 4)),
    ]  # fmt: skip
    config = {"vocab_size": 259, "hidden_size": 4, "tie_word_embeddings": False}
    flags = ["--tokenizer", tokenizers[1], "--old-tokenizer", tokenizers[0]]
    base = write_checkpoint(tmp_path / "base", [[tensor.filled(random) for tensor in layers]], config)
    assert sea("embed-init", base, *flags, "-o", tmp_path / "out").code == 0
    before, after = read_files(base), read_files(tmp_path / "out")
    same = [name for name, tensor in before.items() if tensor == after[name]]
    assert len(same) == 4 and not {"lm_head.weight", "model.embed_tokens.weight"} & set(same)
    scaled = [*layers, Stored(scale, "F32", (259, 1))]
    base = write_checkpoint(tmp_path / "scaled", [[tensor.filled(random) for tensor in scaled]], config)
    result = sea("embed-init", base, *flags, "-o", tmp_path / "out2")
    assert result.code == 1 and scale in result.stderr
