"""Rows through a donor model: which tokens are matched, and the sum by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_folders import byte_fallback, byte_level, llama, load, matrices

from seatools.embed_init.donor_rows import open_donor
from seatools.text.tokenizer import load_tokenizer

Sea = Callable[..., Any]
AB, CD, ABCD = 258, 259, 260


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return llama(byte_level(tmp_path / "base", [(b"a", b"b"), (b"c", b"d")]), 260)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return byte_level(tmp_path / "new", [(b"a", b"b"), (b"c", b"d"), (b"ab", b"cd"), (b"x", b"y")])


@pytest.fixture
def donor(tmp_path: Path) -> Path:
    """Another format, other ids, other width: pieces a b c d ab abcd, which has no xy."""
    folder = byte_fallback(tmp_path / "donor", ["▁", "a", "b", "c", "d", "ab", "abc", "abcd"])
    torch.manual_seed(9)
    return llama(folder, 267, hidden_size=32)


def test_tokens_are_matched_by_bytes_across_formats(base: Path, new: Path, donor: Path) -> None:
    old, extended, other = (load_tokenizer(path) for path in (base, new, donor))
    trained = set(range(260)) - {2 + ord("b")}
    found = open_donor(donor, old, extended, [ABCD, 261], trained)
    assert {old.piece_bytes(int(id)) for id in found.shared[1]} == {b" ", b"a", b"c", b"d", b"ab"}
    assert all(
        old.piece_bytes(int(left)) == other.piece_bytes(int(right)) for right, left in zip(*found.shared, strict=True)
    )
    assert found.donor_id == {ABCD: other.piece_to_id("abcd")}


def test_both_matrices_by_hand(tmp_path: Path, sea: Sea, base: Path, new: Path, donor: Path) -> None:
    """Of six shared tokens all are taken, so OMP is plain least squares: the donor's row as a sum of theirs."""
    flags = ("--method", "omp", "--donor", donor, "--omp-k", 6)
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags)
    assert result.code == 0, result.stderr
    found = open_donor(donor, load_tokenizer(base), load_tokenizer(new), [ABCD], range(260))
    assert len(found.shared[0]) == 6
    for theirs, ours, made in zip(*(matrices(load(path)) for path in (donor, base, tmp_path / "out")), strict=True):
        atoms, target = theirs[found.shared[0]].double().numpy(), theirs[found.donor_id[ABCD]].double().numpy()
        coefficients = np.linalg.lstsq(atoms.T, target, rcond=None)[0]
        assert np.allclose(made[ABCD], coefficients @ ours[found.shared[1]].double().numpy(), atol=1e-6)
        assert torch.equal(made[:260], ours)
        x, y = 2 + ord("x"), 2 + ord("y")
        assert torch.equal(made[261], ours[[x, y]].double().mean(0).float())
    rows = [json.loads(line) for line in (tmp_path / "out/new_rows.jsonl").read_text().splitlines()]
    assert [(row["method"], row["head"]["method"]) for row in rows] == [("omp", "omp"), ("subword-mean",) * 2]
    assert "omp does not reach 1 tokens (the donor does not have them)" in result.stderr and "'xy'" in result.stderr


def test_a_model_is_its_own_donor(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    """A donor of the base's rows that also has the token: with rows enough, its row comes back."""
    grown = tmp_path / "grown"
    assert sea("embed-init", base, "--tokenizer", new, "-o", grown, "--method", "gaussian").code == 0
    flags = ("--method", "omp", "--donor", grown, "--omp-k", 16)
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags)
    assert result.code == 0 and "--omp-k 16 is much for a donor of 16 columns" in result.stderr
    for wanted, made in zip(matrices(load(grown)), matrices(load(tmp_path / "out")), strict=True):
        assert torch.allclose(made, wanted, atol=1e-5)


def test_a_tied_donor_gives_its_embedding_for_both(tmp_path: Path, base: Path, new: Path) -> None:
    tied = llama(byte_level(tmp_path / "tied", [(b"a", b"b"), (b"c", b"d"), (b"ab", b"cd")]), 261, tied=True)
    found = open_donor(tied, load_tokenizer(base), load_tokenizer(new), [ABCD], range(260))
    assert found.matrix(True) == found.matrix(False) == found.checkpoint.embedding


@pytest.mark.parametrize("case", ["no tokens", "no tokenizer", "other tokenizer", "nan", "nothing shared"])
def test_donors_that_do_not_do(tmp_path: Path, sea: Sea, base: Path, new: Path, donor: Path, case: str) -> None:
    if case == "no tokens":
        donor, message = base, "has none of the 2 tokens to make"
    elif case == "no tokenizer":
        (donor / "tokenizer.json").unlink()
        message = str(donor)
    elif case == "other tokenizer":
        byte_fallback(donor, ["▁", *"abcdefghij", "ab"])
        message = "has token ids up to 270 and 267 rows"
    elif case == "nothing shared":
        byte_fallback(donor, ["ก", "ข"])
        message = "shares no token with"
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(donor / "model.safetensors")
        tensors["model.embed_tokens.weight"][262] = torch.nan
        save_file(tensors, donor / "model.safetensors")
        message = "of the donor holds NaN"
    flags = ("--method", "omp", "--donor", donor)
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags)
    assert result.code == 1 and message in result.stderr and not (tmp_path / "out").exists()
