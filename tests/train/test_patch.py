"""Patches: in and out to the bit, scaled, merged; and what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from synthetic_checkpoint import Stored, read_files, write_checkpoint

from seatools.engine.patch import Patch, TrainedSlice, load_patch, make_patch, save_patch
from seatools.streams.errors import CheckFailed, SeaError, UsageError
from seatools.streams.float_bits import STORED, from_float32, to_float32
from seatools.streams.messages import Messages
from seatools.train.merged_patch import merge
from seatools.train.patched_folder import slice_edits, write_patched

QUIET = Messages(quiet=True)
COUNTED = np.array([1, 2, 3, 4], np.float32)
CONFIG = {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 1, "vocab_size": 6}
DTYPES = ("F32", "F16", "BF16")


def array(stored: Stored) -> np.ndarray:
    return np.frombuffer(stored.data, STORED[stored.dtype]).reshape(stored.shape)


def trained(stored: Stored, dim: int | None, index: list[int] | None, seed: int, names: tuple[str, ...] = ()) -> Any:
    """New values of a slice of a stored tensor: some the same as before, some far away."""
    random = np.random.default_rng(seed)
    where = None if index is None else np.array(sorted(index), np.int64)
    old = array(stored) if where is None else np.take(array(stored), where, axis=dim)
    values = to_float32(old, stored.dtype) * random.choice(np.array([1, 1.01, -3e4], np.float32), old.shape)
    return TrainedSlice(
        names=names or (stored.name,), shape=stored.shape, dim=dim, index=where, dtype=stored.dtype,
        values=from_float32(values, stored.dtype),
    )  # fmt: skip


def patch_of(base: Path, *slices: TrainedSlice, name: str = "p", langs: tuple[str, ...] = ("th",)) -> Patch:
    about: dict[str, Any] = dict(base_digest="b", tokenizer_digest="", trained="neurons=x", languages=langs)
    return make_patch(base, slices, name=name, **about)


def put(model: Path, patch: Patch, out: Path, direction: Any = "in", **options: Any) -> dict[str, Stored]:
    edits = slice_edits(model, patch, direction, messages=QUIET, **options)
    out.mkdir()
    write_patched(model, out, edits, QUIET)
    return read_files(out)


def expected(base: dict[str, Stored], *slices: TrainedSlice) -> dict[str, Stored]:
    """The trained checkpoint, made with plain numpy."""
    result = dict(base)
    for piece in slices:
        for name in piece.names:
            changed = array(result[name]).copy()
            place: Any = (slice(None),) * (piece.dim or 0)
            changed[... if piece.index is None else (*place, piece.index)] = piece.values
            result[name] = replace(result[name], data=changed.tobytes())
    return result


@st.composite
def checkpoints(draw: st.DrawFn) -> tuple[list[list[Stored]], list[TrainedSlice]]:
    random = np.random.default_rng(draw(st.integers(0, 999)))
    tensors, slices = [], []
    for number in range(draw(st.integers(1, 5))):
        shape = tuple(draw(st.lists(st.integers(1, 7), min_size=0, max_size=3)))
        tensor = Stored(f"layers.{number}.x", draw(st.sampled_from(DTYPES)), shape).filled(random)
        tensors.append(tensor)
        dim = draw(st.sampled_from([None, 0, 1][: 1 + min(len(shape), 2)]))
        index = None if dim is None else draw(st.sets(st.integers(0, shape[dim] - 1), min_size=1))
        if number == 0 or draw(st.booleans()):
            slices.append(trained(tensor, dim, None if index is None else list(index), number))
    tensors.append(Stored("scale", "F8_E4M3", (3,)).filled(random))
    cut = draw(st.integers(1, len(tensors)))
    return [file for file in (tensors[:cut], tensors[cut:]) if file], slices


@settings(max_examples=60, deadline=None)
@given(checkpoints())
def test_in_gives_the_trained_bytes_and_out_the_base_s(case: tuple[list[list[Stored]], list[TrainedSlice]]) -> None:
    files, slices = case
    with TemporaryDirectory() as name:
        folder = Path(name)
        base = write_checkpoint(folder / "base", files, CONFIG)
        made = patch_of(base, *slices)
        with (folder / "p.safetensors").open("wb") as stream:
            from seatools.engine.patch import write_patch

            write_patch(stream, made)
        patch = load_patch(folder / "p.safetensors")
        assert put(base, patch, folder / "in") == expected(read_files(base), *slices)
        put(folder / "in", patch, folder / "out", "out")
        for path in base.iterdir():  # whole files, header and all
            assert (folder / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "base", [FILE], CONFIG)


_RANDOM = np.random.default_rng(7)
EMBEDDING, DOWN, NORM = "model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight", "model.norm.weight"
FILE = [
    Stored(EMBEDDING, "BF16", (6, 4)).filled(_RANDOM),
    Stored(DOWN, "BF16", (4, 8)).filled(_RANDOM),
    Stored(NORM, "BF16", (4,)).filled(_RANDOM),
]
BY_NAME = {tensor.name: tensor for tensor in FILE}


def rows_of(*index: int, seed: int = 1) -> Any:
    return trained(BY_NAME[EMBEDDING], 0, list(index), seed)


def test_a_file_is_read_by_the_safetensors_package_and_repeats_its_bytes(base: Path, tmp_path: Path) -> None:
    about: dict[str, Any] = dict(base_digest="b" * 64, tokenizer_digest="t", trained="new-rows", languages=["th", "lo"])
    pieces = [rows_of(5, 2), trained(BY_NAME[DOWN], 1, [0, 7], 2), trained(BY_NAME[NORM], None, None, 3)]
    for name in ("one", "two"):
        save_patch(tmp_path / name, base, pieces, **about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with safe_open(tmp_path / "one", "pt") as opened:
        assert opened.get_tensor(f"index/{EMBEDDING}").tolist() == [2, 5]
        assert opened.get_tensor(f"new/{DOWN}").dtype == torch.bfloat16
        assert opened.get_tensor(f"new/{DOWN}").shape == (4, 2) and f"index/{NORM}" not in set(opened.keys())
    patch = load_patch(tmp_path / "one")
    assert (patch.languages, patch.trained, patch.base_digest) == (("th", "lo"), "new-rows", "b" * 64)
    assert patch.architecture == {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 1}
    assert patch.num_values == 8 + 8 + 4
    with pytest.raises(UsageError, match="exists"):
        save_patch(tmp_path / "one", base, pieces, **about)


@pytest.mark.parametrize("scale", [0.0, 0.5, -1.0, 2.0])
def test_a_scale_is_old_plus_f_times_the_difference_as_torch_rounds_it(
    base: Path, tmp_path: Path, scale: float
) -> None:
    piece = rows_of(1, 4)
    patch = merge([patch_of(base, piece)], [scale])
    found = torch.from_numpy(array(put(base, patch, tmp_path / "in")[EMBEDDING]).copy()).view(torch.bfloat16)
    old = torch.from_numpy(array(BY_NAME[EMBEDDING]).copy()).view(torch.bfloat16)
    new = torch.from_numpy(piece.values).view(torch.bfloat16)
    wanted = old.clone()
    wanted[[1, 4]] = (old[[1, 4]].float() + scale * (new.float() - old[[1, 4]].float())).bfloat16()
    assert torch.equal(found, wanted) and torch.equal(wanted, old) == (scale == 0)
    put(tmp_path / "in", patch, tmp_path / "out", "out")
    assert read_files(tmp_path / "out") == read_files(base)  # exact for any scale


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=2, max_size=4), st.sampled_from(["sum", "mean", "first"]))
def test_merging_is_applying_one_after_another_where_rows_are_apart(sets: list[set[int]], policy: str) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        base = write_checkpoint(folder / "base", [FILE], CONFIG)
        pieces, taken = [], set[int]()
        for number, rows in enumerate(sets):
            if rows - taken:
                pieces.append(rows_of(*(rows - taken), seed=number))
            taken |= rows
        if not pieces:
            return
        patches = [patch_of(base, piece, langs=(f"l{n}",)) for n, piece in enumerate(pieces)]
        model = base
        for number, patch in enumerate(patches):
            put(model, patch, folder / f"step{number}")
            model = folder / f"step{number}"
        merged = merge(patches, on_overlap=policy)
        assert put(base, merge(patches), folder / "merged") == read_files(model)
        assert put(base, merged, folder / "policy") == read_files(model)
        assert merged.languages == tuple(f"l{n}" for n in range(len(patches)))
        put(model, patches[0], folder / "back", "out")  # one of them comes out of all
        assert read_files(folder / "back") == expected(read_files(base), *pieces[1:])


def test_rows_of_several_patches_follow_the_formulas(base: Path, tmp_path: Path) -> None:
    pieces = [rows_of(0, 3, seed=1), rows_of(3, 5, seed=2), rows_of(3, seed=3)]
    patches = [patch_of(base, piece, name=f"p{number}") for number, piece in enumerate(pieces)]
    scales = [1.0, 2.0, 1.0]
    with pytest.raises(UsageError, match=r"p0 and p1 both change row 3 of model.embed_tokens.weight \(1 such"):
        merge(patches)
    old = to_float32(array(BY_NAME[EMBEDDING]), "BF16")
    change = [to_float32(piece.values, "BF16") - old[piece.index] for piece in pieces]
    shared = [change[0][1], 2 * change[1][0], change[2][0]]
    total = (shared[0] + shared[1]) + shared[2]
    row_3 = {"sum": old[3] + total, "mean": old[3] + total / np.float32(3), "first": None}
    for policy, values in row_3.items():
        part = merge(patches, scales, policy).parts[EMBEDDING]
        assert part.index is not None and part.index.tolist() == [0, 3, 5]
        assert np.array_equal(part.new[0], pieces[0].values[0])
        assert np.array_equal(part.new[2], from_float32(old[5] + 2 * change[1][1], "BF16"))
        wanted = pieces[0].values[1] if values is None else from_float32(values, "BF16")
        assert np.array_equal(part.new[1], wanted), policy
        assert np.array_equal(part.old, array(BY_NAME[EMBEDDING])[[0, 3, 5]])


def test_whole_tensors_and_columns_merge_too(base: Path, tmp_path: Path) -> None:
    down = BY_NAME[DOWN]
    whole, columns, rows = trained(down, None, None, 1), trained(down, 1, [2, 6], 2), trained(down, 0, [1], 3)
    merged = merge([patch_of(base, columns), patch_of(base, whole)], on_overlap="first")
    model = put(base, merged, tmp_path / "in")
    both = array(expected(BY_NAME, whole, columns)[DOWN])
    assert np.array_equal(array(model[DOWN]), both)
    alone = merge([patch_of(base, whole), patch_of(base, whole)], on_overlap="mean").parts[DOWN]
    assert alone.dim is None and alone.new.shape == (4, 8)
    with pytest.raises(SeaError, match="rows in one and columns in the other"):
        merge([patch_of(base, columns), patch_of(base, rows)], on_overlap="sum")
    with pytest.raises(UsageError, match="both change column 2 "):
        merge([patch_of(base, columns), patch_of(base, columns)])


def test_patches_of_other_bases_and_odd_scales_are_refused(base: Path) -> None:
    one, two = patch_of(base, rows_of(1), name="one"), patch_of(base, rows_of(2), name="two")
    for changed, says in (
        (replace(two, base_digest="c"), "base model: b and c"),
        (replace(two, tokenizer_digest="t"), "tokenizer"),
        (replace(two, architecture={}), "architecture"),
    ):
        with pytest.raises(SeaError, match=says):
            merge([one, changed])
    with pytest.raises(UsageError, match="3 scales for 2 patches"):
        merge([one, two], [1, 2, 3])
    with pytest.raises(UsageError, match="finite"):
        merge([one, two], [math.inf])
    with pytest.raises(UsageError, match="no --on-overlap"):
        merge([one, two], on_overlap="last")
    other = replace(two, parts={EMBEDDING: replace(patch_of(base, rows_of(1)).parts[EMBEDDING])})
    part = other.parts[EMBEDDING]
    moved = replace(other, parts={EMBEDDING: replace(part, old=part.old + np.uint16(1))})
    with pytest.raises(SeaError, match="begin from different values"):
        merge([one, moved], on_overlap="sum")


def test_other_values_are_refused_by_name_and_moved_by_the_difference_if_asked(base: Path, tmp_path: Path) -> None:
    piece = rows_of(1, 4)
    patch = patch_of(base, piece)
    changed = array(BY_NAME[EMBEDDING]).copy()
    changed[4] = from_float32(COUNTED, "BF16")
    others = [replace(FILE[0], data=changed.tobytes()), *FILE[1:]]
    other = write_checkpoint(tmp_path / "other", [others], CONFIG)
    with pytest.raises(CheckFailed, match=rf'"{EMBEDDING}".*1 of 2 rows \(first: 4\) differ'):
        slice_edits(other, patch, "in", messages=QUIET)
    with pytest.raises(CheckFailed, match="2 of 2 rows"):
        slice_edits(other, patch, "out", messages=QUIET)
    with pytest.raises(CheckFailed, match="the base's values, without the patch"):
        slice_edits(base, patch, "out", messages=QUIET)
    put(base, patch, tmp_path / "in")
    with pytest.raises(CheckFailed, match="has the patch in it already"):
        slice_edits(tmp_path / "in", patch, "in", messages=QUIET)
    found = array(put(other, patch, tmp_path / "inexact", inexact=True)[EMBEDDING])
    old, new = to_float32(array(BY_NAME[EMBEDDING])[4], "BF16"), to_float32(piece.values[1], "BF16")
    assert np.array_equal(found[1], piece.values[0])  # exact where it can be
    assert np.array_equal(found[4], from_float32(COUNTED + (new - old), "BF16"))
    found = array(put(other, patch, tmp_path / "minus", "out", inexact=True)[EMBEDDING])
    assert np.array_equal(found[4], from_float32(COUNTED + (old - new), "BF16"))


def test_models_that_it_does_not_fit_are_refused_with_both_shapes(base: Path, tmp_path: Path) -> None:
    patch = patch_of(base, rows_of(5))
    for number, (tensors, config, says, fix) in enumerate(
        [
            ([Stored(EMBEDDING, "BF16", (5, 4)), *FILE[1:]], CONFIG, r"\[5, 4\].*\[6, 4\]", "embed-init"),
            ([Stored(EMBEDDING, "F32", (6, 4)), *FILE[1:]], CONFIG, "is F32 in .* was made for BF16", ""),
            (FILE[1:], CONFIG, "does not store", ""),
            (FILE, CONFIG | {"hidden_size": 5}, "hidden_size 4 there, 5 here", ""),
        ]
    ):
        filled = [tensor if tensor.data else tensor.filled(_RANDOM) for tensor in tensors]
        model = write_checkpoint(tmp_path / f"model{number}", [filled], config)
        with pytest.raises(SeaError, match=says) as caught:
            slice_edits(model, patch, "in", messages=QUIET)
        assert fix in (caught.value.fix or "")


def test_a_patch_in_another_dtype_than_the_base_is_rounded_with_a_warning(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    piece = replace(rows_of(2), dtype="F32", values=values)
    about: dict[str, Any] = dict(base_digest="b", tokenizer_digest="", trained="new-rows", languages=[])
    patch = make_patch(base, [piece], messages=QUIET, **about)
    assert "trained in F32" in capsys.readouterr().err
    wanted = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    assert np.array_equal(array(put(base, patch, tmp_path / "in")[EMBEDDING])[2:3], wanted)
    wide = [replace(tensor, dtype="F32", data=b"").filled(_RANDOM) for tensor in FILE]
    base = write_checkpoint(tmp_path / "wide", [wide], CONFIG)
    patch = make_patch(base, [rows_of(2)], messages=QUIET, **about)  # bf16 into fp32 loses nothing
    assert capsys.readouterr().err == ""
    assert np.array_equal(patch.parts[EMBEDDING].new, to_float32(rows_of(2).values, "BF16"))


def test_a_tied_weight_that_is_stored_twice_is_patched_twice(tmp_path: Path) -> None:
    head = replace(FILE[0], name="lm_head.weight")
    base = write_checkpoint(tmp_path / "base", [[FILE[0], head]], CONFIG)
    piece = trained(FILE[0], 0, [3], 1, names=(EMBEDDING, "lm_head.weight"))
    model = put(base, patch_of(base, piece), tmp_path / "in")
    assert model["lm_head.weight"].data == model[EMBEDDING].data == expected(BY_NAME, rows_of(3))[EMBEDDING].data


def test_what_the_base_does_not_store_so_cannot_be_a_patch(base: Path) -> None:
    with pytest.raises(SeaError, match='stores no tensor "other"'):
        patch_of(base, replace(rows_of(1), names=("other",)))
    with pytest.raises(SeaError, match=r"BF16 \[6, 4\], and it was trained as BF16 \[7, 4\]"):
        patch_of(base, replace(rows_of(1), shape=(7, 4)))
    with pytest.raises(SeaError, match="nothing was trained"):
        patch_of(base)


def test_damaged_and_foreign_files_are_refused(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    about: dict[str, Any] = dict(base_digest="b", tokenizer_digest="t", trained="new-rows", languages=[])
    save_patch(path, base, [rows_of(2, 5)], **about)
    content = path.read_bytes()
    with pytest.raises(SeaError, match="not a patch file"):
        load_patch(base / "model.safetensors")
    for old, new, says in (
        (b'"format_version":"1"', b'"format_version":"2"', "reads 1"),
        (b'"sea-patch"', b'"sea-pitch"', "not a patch file"),
        (b'\\"dim\\": 0', b'\\"dim\\": 1', "does not describe a patch"),
        (b'\\"shape\\": [6, 4]', b'\\"shape\\": [5, 4]', "does not describe a patch"),
        (b'"trained"', b'"trainee"', "does not describe a patch"),
        (b"\\x02" + bytes(7), b"\\x05" + bytes(7), "does not describe a patch"),
    ):
        old, new = (text.replace(b"\\x02", b"\2").replace(b"\\x05", b"\5") for text in (old, new))
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(SeaError, match=says):
            load_patch(path)
    path.write_bytes(content[:-1])
    with pytest.raises(SeaError, match="bytes where its header promises"):
        load_patch(path)
