"""The loss and gradient of a step against the plain computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llama import write_model, write_tokenizer

from seatools.engine.trainee import Trainee, load_trainee, make_optimizer
from seatools.engine.world import SINGLE
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import PackedData, read_packed, write_packed
from seatools.text.packing import pack
from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import load_tokenizer
from seatools.train.options import TrainOptions
from seatools.train.run import rows_with_targets
from seatools.train.step import StepGradients

ROW = 24


def documents(lengths: tuple[int, ...] = (20, 9, 13, 3, 24, 7, 11, 40)) -> list[TokenizedDoc]:
    draw = np.random.default_rng(1)
    docs = []
    for length in lengths:
        mask = (draw.random(length) < 0.7).astype(np.uint8)
        mask[0] = 0
        docs.append(TokenizedDoc(draw.integers(3, 259, length).astype(np.uint32), mask))
    return docs


def packed_of(docs: list[TokenizedDoc], path: Path) -> PackedData:
    rows = pack([len(doc.ids) for doc in docs], ROW)
    write_packed(path, rows, docs, [0] * len(docs), row_length=ROW, tokenizer_digest="d", sources=["a"])
    return read_packed(path)


@pytest.fixture
def packed(tmp_path: Path) -> PackedData:
    return packed_of(documents(), tmp_path / "packed.safetensors")


QUIET = Messages(quiet=True)


def load(model_path: Path, **options: Any) -> tuple[Trainee, TrainOptions]:
    settings = TrainOptions(seq_len=ROW, dtype="fp32", device="cpu", **options)
    trainee = load_trainee(
        model_path, settings, seq_len=settings.seq_len, vocab_size=load_tokenizer(model_path).vocab_size,
        tokenizer_path=model_path, world=SINGLE, messages=QUIET, from_config=settings.from_config,
    )  # fmt: skip
    return trainee, settings


def step_of(
    trainee: Trainee, packed: PackedData, options: TrainOptions, model_path: Path, rows: np.ndarray | None = None
) -> StepGradients:
    tokenizer = load_tokenizer(model_path)
    return StepGradients(
        trainee.root, make_optimizer(trainee, options), packed, rows_with_targets(packed) if rows is None else rows,
        options, tokenizer=tokenizer, token_bytes=token_num_bytes(tokenizer), world=SINGLE,
    )  # fmt: skip


def taken(
    trainee: Trainee, packed: PackedData, options: TrainOptions, model_path: Path, step: int = 1
) -> tuple[dict[str, Any], Any]:
    """What one step logs, and its gradients by name."""
    trainee.model.zero_grad()
    row = step_of(trainee, packed, options, model_path)(step)
    return row, {name: p.grad.clone() for name, p in trainee.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("micro_batch", [1, 2, 4, 5])
def test_the_micro_batch_changes_neither_loss_nor_gradient(
    model_path: Path, packed: PackedData, micro_batch: int
) -> None:
    model, whole = load(model_path, batch_size=5)
    row, gradients = taken(model, packed, whole, model_path)
    cut_row, cut_gradients = taken(
        model, packed, load(model_path, batch_size=5, micro_batch=micro_batch)[1], model_path
    )
    assert cut_row["loss"] == pytest.approx(row["loss"], rel=1e-6)
    assert (cut_row["tokens"], cut_row["targets"]) == (row["tokens"], row["targets"])
    for name, gradient in gradients.items():
        torch.testing.assert_close(cut_gradients[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_loss_and_gradient_are_plain_cross_entropy_on_the_unpacked_documents(
    model_path: Path, packed: PackedData
) -> None:
    model, options = load(model_path, batch_size=packed.num_rows)
    row, gradients = taken(model, packed, options, model_path)
    reference = load(model_path)[0].model
    total, count = torch.zeros(()), 0
    for doc in documents():
        for start in range(0, len(doc.ids), ROW):  # one document is longer than a row, and is cut
            ids = torch.from_numpy(doc.ids[start : start + ROW].astype(np.int64))
            labels = torch.where(torch.from_numpy(doc.loss_mask[start : start + ROW]) > 0, ids, -100)
            labels[0] = -100
            logits = reference(input_ids=ids[None]).logits[0, :-1]
            total = total + torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum", ignore_index=-100)
            count += int((labels != -100).sum())
    (total / count).backward()
    assert row["targets"] == count
    assert row["loss"] == pytest.approx(float((total / count).detach()), rel=1e-6)
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_target_outside_the_mask_has_no_gradient(model_path: Path, tmp_path: Path) -> None:
    """The last token of a row is context for nothing: with its mask 0 it may be any token."""
    (doc,) = documents((20,))
    doc.loss_mask[-1] = 0
    other = TokenizedDoc(doc.ids.copy(), doc.loss_mask)
    other.ids[-1] = (int(doc.ids[-1]) + 5) % 250 + 3
    model, options = load(model_path, batch_size=1)
    one = taken(model, packed_of([doc], tmp_path / "a.safetensors"), options, model_path)
    two = taken(model, packed_of([other], tmp_path / "b.safetensors"), options, model_path)
    assert one[0]["loss"] == two[0]["loss"]
    assert all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def test_rows_without_a_target_are_never_read(model_path: Path, tmp_path: Path) -> None:
    """A prompt longer than a row fills rows that teach nothing; one in a step alone would be a division by zero."""
    docs = documents((24, 24, 24, 24))
    for doc in docs[1:3]:
        doc.loss_mask[:] = 0
    packed = packed_of(docs, tmp_path / "p.safetensors")
    rows = rows_with_targets(packed)
    assert len(rows) == 2
    model, options = load(model_path, batch_size=1)
    read = [taken(model, packed, options, model_path, step)[0]["rows"] for step in (1, 2, 3, 4)]
    assert sorted(read[:2]) == sorted(read[2:]) == sorted([int(row)] for row in rows)


def test_no_rows_have_no_targets(tmp_path: Path) -> None:
    write_packed(tmp_path / "p", [], [], [], row_length=8, tokenizer_digest="d", sources=[])
    assert rows_with_targets(read_packed(tmp_path / "p")).tolist() == []


def test_a_micro_batch_without_a_target_is_harmless(model_path: Path, tmp_path: Path) -> None:
    docs = documents((24, 24))
    docs[1].loss_mask[:] = 0
    packed = packed_of(docs, tmp_path / "p.safetensors")
    model, options = load(model_path, batch_size=2, micro_batch=1)
    both = step_of(model, packed, options, model_path, np.array([0, 1]))(1)
    model.model.zero_grad()
    single = packed_of(docs[:1], tmp_path / "q.safetensors")
    alone = step_of(model, single, load(model_path, batch_size=1)[1], model_path, np.array([0]))(1)
    assert both["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    assert both["targets"] == alone["targets"]


def test_the_vocabulary_of_the_tokenizer_must_fit_the_model(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "small")
    write_model(tmp_path / "small", vocab_size=100)
    with pytest.raises(SeaError, match="ids up to 258, the model has 100 embedding rows"):
        load(tmp_path / "small")


def test_from_config_the_same_seed_makes_the_same_model(model_path: Path) -> None:
    one, two, three = (load(model_path, from_config=True, seed=seed)[0] for seed in (4, 4, 5))
    pairs = list(zip(*(trainee.model.parameters() for trainee in (one, two, three)), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_everything_is_trained_without_neurons(model_path: Path) -> None:
    trainee, _ = load(model_path)
    assert [name for name, _ in trainee.parts] == [name for name, _ in trainee.model.named_parameters()]


def test_losses_and_bits_per_byte_of_the_sources_add_up_to_the_steps(model_path: Path, tmp_path: Path) -> None:
    docs = documents()
    rows = pack([len(doc.ids) for doc in docs], ROW)
    owners = [0, 1, 0, 1, 0, 1, 0, 1]
    path = tmp_path / "two.safetensors"
    write_packed(path, rows, docs, owners, row_length=ROW, tokenizer_digest="d", sources=["th", "en"])
    packed = read_packed(path)
    trainee, options = load(model_path, batch_size=packed.num_rows, micro_batch=2)
    row = step_of(trainee, packed, options, model_path)(1)
    sources = row["sources"]
    assert set(sources) == {"th", "en"}
    assert sum(found["tokens"] for found in sources.values()) == row["targets"]
    together = sum(found["loss"] * found["tokens"] for found in sources.values())
    assert together / row["targets"] == pytest.approx(row["loss"], rel=1e-9)


def test_the_context_of_a_step_is_the_mean_length_of_a_tokens_document(model_path: Path, packed: PackedData) -> None:
    """What `flops.py` takes attention's work from; half of it, the mean number of keys, would be halved twice."""
    trainee, options = load(model_path, batch_size=packed.num_rows)
    row = step_of(trainee, packed, options, model_path)(1)
    lengths = [20, 9, 13, 3, 24, 7, 11, 24, 16]  # the one of 40 tokens is cut to rows of 24
    assert row["context"] == pytest.approx(sum(n * n for n in lengths) / sum(lengths), abs=0.05)


def test_the_documents_of_a_step_can_be_looked_at(model_path: Path, packed: PackedData, tmp_path: Path) -> None:
    import json

    trainee, options = load(model_path, batch_size=2)
    step = step_of(trainee, packed, options, model_path)
    row = step(3)
    path = Path(row["forensics"](tmp_path))
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["row"] for line in lines] == [n for n in row["rows"] for _ in packed.row(n)]
    assert sum(line["tokens"] for line in lines) == row["tokens"]
    assert sum(line["targets"] for line in lines) == row["targets"]
