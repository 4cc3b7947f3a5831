"""Bits per byte of texts: a plain transformers computation gives the same, whatever else is scored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llama import BOS, write_model, write_tokenizer

from seatools.engine import document_scores
from seatools.engine.document_scores import score_documents
from seatools.streams.errors import SeaError, UsageError
from seatools.text.tokenizer import load_tokenizer

TEXTS = ["kaya ngata", "", "สวัสดีชาวโลก " * 6, "a", "ngata lor inay anak ulan puno isda bata " * 5, "lor", " "]
POSITIONS = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with one token a byte."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    write_tokenizer(folder, names=("bos", "eos"), template=None)
    return write_model(folder, max_position_embeddings=POSITIONS)


def score(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    options = {"device": "cpu", "seq_len": 24, "quiet": True} | options
    return score_documents(folder, iter(texts), tokenizer=load_tokenizer(folder), **options)


def plain(folder: Path, text: str, seq_len: int) -> float:
    """The definition, by transformers' own logits: one window after the other, BOS before each, the last one full."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids, nats = load_tokenizer(folder).encode(text), 0.0
    for done in range(0, len(ids), seq_len - 1):
        end = min(done + seq_len - 1, len(ids))
        part = ids[max(0, end - (seq_len - 1)) : end]
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([[BOS, *part]])).logits[0].double().log_softmax(-1)
        nats -= float(log_probs[torch.arange(len(part)), torch.tensor(part)][-(end - done) :].sum())
    return nats / math.log(2) / len(text.encode()) if ids else math.nan


@pytest.mark.parametrize("seq_len", [2, 24, POSITIONS])
def test_scores_are_transformers_own(folder: Path, seq_len: int) -> None:
    found = score(folder, TEXTS, seq_len=seq_len)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [plain(folder, text, seq_len) for text in TEXTS], rtol=1e-5)
    assert np.isnan(found).tolist() == [not text for text in TEXTS]


def test_a_window_is_no_longer_than_the_model_takes(folder: Path) -> None:
    np.testing.assert_array_equal(score(folder, TEXTS, seq_len=512), score(folder, TEXTS, seq_len=POSITIONS))


@pytest.mark.parametrize("batch_tokens", [1, 50, 16384])
def test_a_score_does_not_depend_on_what_else_is_scored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch_tokens: int
) -> None:
    monkeypatch.setattr(document_scores, "BUFFER_TEXTS", 2)
    found = score(folder, TEXTS[::-1], batch_tokens=batch_tokens)[::-1]
    monkeypatch.undo()
    np.testing.assert_allclose(found, score(folder, TEXTS), rtol=1e-5)
    monkeypatch.setattr(document_scores, "BUFFER_CHARS", 1)
    np.testing.assert_allclose(found, score(folder, TEXTS), rtol=1e-5)


def test_it_is_evals_perplexity(folder: Path, sea: Any, tmp_path: Path) -> None:
    """With the longest stride: all that a window holds beside the context token."""
    text = TEXTS[4]
    (tmp_path / "th.jsonl").write_text(json.dumps({"text": text}), "utf-8")
    run = sea(
        "eval", folder, "perplexity", "--data", f"th={tmp_path / 'th.jsonl'}", "--seq-len", 24, "--stride", 23,
        "--json", "--device", "cpu",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    assert score(folder, [text])[0] == pytest.approx(json.loads(run.stdout)["value"], rel=1e-6)


def test_nothing_to_score(folder: Path) -> None:
    assert score(folder, []).tolist() == []
    assert np.isnan(score(folder, ["", ""])).all()


def test_a_model_with_broken_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    write_tokenizer(tmp_path, names=("bos", "eos"), template=None)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight[load_tokenizer(folder).encode("z")[0]] = math.inf
    model.save_pretrained(tmp_path)
    assert np.isfinite(score(tmp_path, ["abc"])).all()
    with pytest.raises(SeaError, match="not finite for text 1"):
        score(tmp_path, ["abc", "xyz xyz"])


@pytest.mark.parametrize("options", [{"seq_len": 1}, {"batch_tokens": 0}, {"device": "tpu"}])
def test_senseless_options_are_refused(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        score(folder, ["abc"], **options)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_scores_as_the_cpu_does(folder: Path) -> None:
    on_cpu = score(folder, TEXTS)
    np.testing.assert_allclose(score(folder, TEXTS, device="cuda", dtype="fp32"), on_cpu, rtol=1e-4)
    np.testing.assert_allclose(score(folder, TEXTS, device="cuda", dtype="bf16"), on_cpu, rtol=0.05)
