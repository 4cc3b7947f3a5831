"""`sea embed-init --method ...` on whole folders: what each method gives, in the embedding and in the head."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_folders import byte_level, llama, load, matrices

from seatools.embed_init.options import METHODS

Sea = Callable[..., Any]
MERGES = [(b"a", b"b"), (b"c", b"d"), (b"ab", b"cd"), (b"cd", b"e")]  # base has the first two
AB, CD, ABCD, CDE, E = 258, 259, 260, 261, 2 + ord("e")
PIECES = {ABCD: [AB, CD], CDE: [CD, E]}
FREE = sorted(set(METHODS) - {"focus", "omp", "distill"})


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return llama(byte_level(tmp_path / "base", MERGES[:2]), 260, tied=request.param)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return byte_level(tmp_path / "new", MERGES)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Both new tokens among old ones."""
    path = tmp_path / "text.txt"
    words = np.random.default_rng(0).choice(["abcd", "cde", "x", "ab", "cd", "fgh"], size=(60, 20))
    path.write_text("\n".join(" ".join(line) for line in words) + "\n")
    return path


def _records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "new_rows.jsonl").read_text().splitlines()]


def _run(sea: Sea, base: Path, new: Path, out: Path, *flags: object) -> tuple[Any, Any, Any]:
    """(result, (embedding, head) before, (embedding, head) after)."""
    result = sea("embed-init", base, "--tokenizer", new, "-o", out, *flags)
    assert result.code == 0, result.stderr
    return result, matrices(load(base)), matrices(load(out))


@pytest.mark.parametrize("method", FREE)
def test_every_method_leaves_old_rows_alone_and_makes_new_ones(
    tmp_path: Path, sea: Sea, base: Path, new: Path, method: str
) -> None:
    _, before, after = _run(sea, base, new, tmp_path / "out", "--method", method)
    for old, grown in zip(before, after, strict=True):
        assert torch.equal(old, grown[:260])
        assert grown[260:].isfinite().all() and grown[260:].norm(dim=1).min() > 0
    assert [row["method"] for row in _records(tmp_path / "out")] == [method, method]


def test_the_default_leans_to_the_last_piece_for_input_and_to_the_first_for_output(
    tmp_path: Path, sea: Sea, base: Path, new: Path
) -> None:
    result, (embedding, head), (new_embedding, new_head) = _run(sea, base, new, tmp_path / "out")
    tied = head is embedding or torch.equal(head, embedding)
    for id, (first, second) in PIECES.items():
        to_first, to_last = (
            (2 * embedding[first] + embedding[second]) / 3,
            (embedding[first] + 2 * embedding[second]) / 3,
        )
        assert torch.allclose(new_embedding[id], to_first if tied else to_last, atol=1e-8)
        assert torch.allclose(new_head[id], (2 * head[first] + head[second]) / 3, atol=1e-8)
    said = "weighted-first" if tied else "weighted-last / weighted-first"
    assert f"2 new tokens by {said}," in result.stderr
    chosen = json.loads((tmp_path / "out.manifest.json").read_text())["options"]
    assert (chosen["method"], chosen["head_method"]) == (
        ("weighted-first", None) if tied else ("weighted-last", "weighted-first")
    )


def test_each_matrix_has_its_own_method(tmp_path: Path, sea: Sea, new: Path) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:2]), 260)
    flags = ("--method", "weighted-last", "--head-method", "weighted-first")
    _, (embedding, head), (new_embedding, new_head) = _run(sea, base, new, tmp_path / "out", *flags)
    for id, (first, second) in PIECES.items():
        assert torch.allclose(new_embedding[id], (embedding[first] + 2 * embedding[second]) / 3, atol=1e-8)
        assert torch.allclose(new_head[id], (2 * head[first] + head[second]) / 3, atol=1e-8)
    assert [(row["method"], row["head"]["method"]) for row in _records(tmp_path / "out")] == [
        ("weighted-last", "weighted-first")
    ] * 2


@pytest.mark.parametrize("method", ["subword-mean", "gaussian-full"])
def test_norm_match(tmp_path: Path, sea: Sea, base: Path, new: Path, method: str) -> None:
    flags = ("--method", method)
    _, _, plain = _run(sea, base, new, tmp_path / "plain", *flags)
    _, before, after = _run(sea, base, new, tmp_path / "out", *flags, "--norm-match")
    for old, other, grown in zip(before, plain, after, strict=True):
        norm = old[:260].norm(dim=1).mean()
        assert torch.allclose(grown[260:].norm(dim=1), norm.expand(2), rtol=1e-6)
        cosine = torch.nn.functional.cosine_similarity(grown[260:], other[260:])
        assert torch.allclose(cosine, torch.ones(2), atol=1e-6)  # the direction stays
        assert torch.equal(old, grown[:260])


@pytest.mark.parametrize("method", [*FREE, "omp"])
def test_a_row_does_not_depend_on_what_else_is_added(
    tmp_path: Path, sea: Sea, base: Path, new: Path, method: str
) -> None:
    """`cde` alone, at the id that it has beside `abcd`: `few` has a control token in the other's place."""
    few = byte_level(tmp_path / "few", MERGES)
    body = json.loads((few / "tokenizer.json").read_text())
    body["model"]["vocab"].pop("abcd")
    body["model"]["merges"].remove(["ab", "cd"])
    (few / "tokenizer.json").write_text(json.dumps(body))
    flags: list[object] = ["--method", method, "--seed", 5]
    if method == "omp":
        flags += ["--donor", llama(byte_level(tmp_path / "donor", MERGES), 262, tied=True), "--omp-k", 3]
    if method == "xavier":  # its bound follows the number of rows
        flags += ["--pad-to-multiple", 8]
    rows = [_run(sea, base, folder, tmp_path / f"o-{folder.name}", *flags)[2] for folder in (new, few)]
    for both, alone in zip(*rows, strict=True):
        assert torch.equal(both[CDE], alone[CDE])


@pytest.mark.parametrize("method", ["gaussian-full", "gaussian-diagonal", "focus", "omp", "distill"])
def test_two_runs_give_the_same_bytes_and_another_seed_others(
    tmp_path: Path, sea: Sea, new: Path, text: Path, method: str
) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:2]), 260, tied=True)
    flags: list[object] = ["--method", method]
    if method == "omp":
        flags += ["--donor", llama(byte_level(tmp_path / "donor", MERGES), 262, tied=True), "--omp-k", 3]
    if method in ("focus", "distill"):
        flags += ["--text", text]
    if method == "distill":
        flags += ["--steps", 3]
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        _run(sea, base, new, tmp_path / name, *flags, "--seed", seed)
    one, two, three = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert (one == three) == (method == "omp")  # which draws nothing


def test_focus_gives_convex_combinations_of_old_rows(
    tmp_path: Path, sea: Sea, base: Path, new: Path, text: Path
) -> None:
    pytest.importorskip("gensim")
    flags = ("--method", "focus", "--text", f"en={text}")
    _, before, after = _run(sea, base, new, tmp_path / "out", *flags)
    assert [row["method"] for row in _records(tmp_path / "out")] == ["focus"] * 2
    for old, grown in zip(before, after, strict=True):
        assert torch.equal(old, grown[:260])
        for id in (ABCD, CDE):
            weights = np.linalg.lstsq(
                np.vstack([old[_occurring()].numpy().T, np.ones(len(_occurring()))]),
                np.append(grown[id].numpy(), 1.0),
                rcond=None,
            )[0]
            assert np.allclose(old[_occurring()].numpy().T @ weights, grown[id], atol=1e-5)
            assert weights.min() > -1e-4


def _occurring() -> list[int]:
    """Ids of the old tokens in `text`: letters, space, ab, cd."""
    return [*(2 + ord(char) for char in " xfgh"), AB, CD]


def test_focus_falls_back_where_the_text_has_no_token(
    tmp_path: Path, sea: Sea, base: Path, new: Path, text: Path
) -> None:
    pytest.importorskip("gensim")
    text.write_text(text.read_text().replace("cde", "x"))
    result, _, _ = _run(sea, base, new, tmp_path / "out", "--method", "focus", "--text", text)
    assert [row["method"] for row in _records(tmp_path / "out")] == ["focus", "subword-mean"]
    assert "focus does not reach 1 tokens (too rare in the text)" in result.stderr and "'cde'" in result.stderr


def test_the_front_stays_light(tmp_path: Path, new: Path) -> None:
    """No torch, transformers, scipy or gensim for a run by numpy, covariance and all."""
    base = llama(byte_level(tmp_path / "base", MERGES[:2]), 260)
    code = (
        "import sys; from seatools.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or ' '.join({'torch', 'transformers', 'gensim', 'scipy'} & set(sys.modules)) or 0)"
    )
    argv = ["embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--method", "gaussian-full"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--method", "focus"), "method focus needs --text"),
        (("--method", "distill"), "method distill needs --text"),
        (("--method", "omp"), "method omp needs --donor"),
        (("--head-method", "omp"), "method omp needs --donor"),
        (("--text", "x.txt"), "--text is for another method"),
        (("--donor", "x"), "--donor is for another method"),
        (("--head-method", "distill"), "input rows only"),
        (("--steps", 0), "--steps 0"),
        (("--omp-k", 0), "--omp-k 0"),
        (("--lr", 0), "--lr 0"),
        (("--max-tokens", "x"), '"x" is not a size'),
        (("--reinit-reasons", "old"), "unknown --reinit-reasons 'old'"),
        (("--device", "tpu"), "unknown --device 'tpu'"),
    ],
)
def test_flags_that_do_not_go_together(
    tmp_path: Path, sea: Sea, base: Path, new: Path, flags: tuple[object, ...], message: str
) -> None:
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags)
    assert result.code == 2 and message in result.stderr and not (tmp_path / "out").exists()


def test_cuda_that_is_not_there_is_an_error(
    tmp_path: Path, sea: Sea, base: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--device", "cuda")
    assert result.code == 1 and "--device cuda" in result.stderr and not (tmp_path / "out").exists()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", [*FREE, "focus", "omp", "distill"])
def test_cuda_gives_the_rows_of_numpy(tmp_path: Path, sea: Sea, base: Path, new: Path, text: Path, method: str) -> None:
    flags: list[object] = ["--method", method]
    if method == "omp":
        flags += ["--donor", llama(byte_level(tmp_path / "donor", MERGES), 262, tied=True), "--omp-k", 3]
    if method in ("focus", "distill"):
        flags += ["--text", text]
    if method == "distill":
        flags += ["--steps", 3]
    _, _, cpu = _run(sea, base, new, tmp_path / "cpu", *flags)
    _, _, cuda = _run(sea, base, new, tmp_path / "cuda", *flags, "--device", "cuda")
    tolerance = 2e-3 if method == "distill" else 1e-6  # the model runs in bf16 there
    assert all(torch.allclose(left, right, atol=tolerance) for left, right in zip(cpu, cuda, strict=True))
