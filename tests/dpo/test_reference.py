"""The reference: the model's own scores, cached, and refused when they are another's."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from tiny_llama import write_jsonl, write_tokenizer

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair, read_pairs
from seatools.dpo.reference import compute_reference
from seatools.dpo.run import align, shares_prompts
from seatools.engine.trainee import Trainee, load_trainee
from seatools.engine.world import SINGLE
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import Rejects
from seatools.streams.tensors import load_tensors, save_tensors
from seatools.text.documents import load_documents
from seatools.text.tokenizer import load_tokenizer

QUIET = Messages(quiet=True)
OPTIONS = DPOOptions(max_length=100, batch_size=5, max_steps=1, lr=1e-9, device="cpu", dtype="fp32")


def trainee_of(model_path: Path, attention: str = "auto") -> Trainee:
    options = dataclasses.replace(OPTIONS, attention=attention)
    return load_trainee(
        model_path, options, seq_len=100, vocab_size=load_tokenizer(model_path).vocab_size, tokenizer_path=model_path,
        world=SINGLE, messages=QUIET,
    )  # fmt: skip


def pairs_in(model_path: Path, prefs: Path) -> list[Pair]:
    return read_pairs([str(prefs)], load_documents(model_path), max_length=100, rejects=Rejects(), limit=None)


def plain_score(model: Any, doc: Any) -> float:
    """log p of the answer by the model's own logits on this document alone."""
    ids = torch.from_numpy(doc.ids.astype(np.int64))[None]
    with torch.no_grad():
        log_probs = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1]
    each = log_probs.gather(1, ids[0, 1:, None])[:, 0]
    return float((each * torch.from_numpy(doc.loss_mask[1:].astype(np.float32))).sum())


@pytest.mark.parametrize("share_prompt", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 30, 8192])
def test_it_is_the_models_own_score_and_the_first_step_knows_no_margin(
    model_path: Path, prefs: Path, tmp_path: Path, share_prompt: bool, batch_tokens: int
) -> None:
    pairs, trainee = pairs_in(model_path, prefs), trainee_of(model_path)
    reference = compute_reference(
        trainee, pairs, pad_id=0, share_prompt=share_prompt, world=SINGLE, messages=QUIET, batch_tokens=batch_tokens
    )
    for side in ("chosen", "rejected"):
        expected = [plain_score(trainee.model, getattr(pair, side)) for pair in pairs]
        np.testing.assert_allclose(reference[side], expected, rtol=1e-5)
        assert reference[side].dtype == np.float32
    align(
        trainee, pairs, reference, OPTIONS, out=tmp_path, tokenizer=load_tokenizer(model_path), fingerprint={},
        share_prompt=share_prompt, resume=False, messages=QUIET, world=SINGLE,
    )  # fmt: skip
    row = orjson.loads((tmp_path / "metrics.jsonl").read_bytes())
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert [row[key] for key in ("reward_chosen", "reward_rejected", "kl")] == pytest.approx([0, 0, 0], abs=1e-5)


def test_prompts_are_shared_where_attention_and_pairs_allow(model_path: Path, prefs: Path) -> None:
    pairs, able, unable = pairs_in(model_path, prefs), trainee_of(model_path), trainee_of(model_path, "sdpa")
    told = {choice: dataclasses.replace(OPTIONS, share_prompt=choice) for choice in (None, True, False)}
    assert shares_prompts(able, pairs, told[None]) and shares_prompts(able, pairs, told[True])
    assert not shares_prompts(able, pairs, told[False]) and not shares_prompts(unable, pairs, told[None])
    alone = [Pair(*(dataclasses.replace(doc, loss_mask=np.ones_like(doc.loss_mask)) for doc in (p.chosen, p.rejected)))
             for p in pairs]  # fmt: skip
    assert not shares_prompts(able, alone, told[None])
    with pytest.raises(UsageError, match="--share-prompt: its attention is sdpa"):
        shares_prompts(unable, pairs, told[True])


SHORT = ("--batch-size", 2, "--max-steps", 2, "--max-length", 64, "-q")


def test_what_makes_a_cache_anothers_is_named(sea: Any, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "ref.safetensors"
    assert sea("dpo", model_path, prefs, "-o", cache, "--reference-only", *SHORT).code == 0

    def refused(*words: object, prefs: Path = prefs) -> str:
        result = sea("dpo", model_path, prefs, "-o", tmp_path / "out", "--reference", cache, *SHORT, *words)
        assert result.code == 1 and not (tmp_path / "out").exists()
        return result.stderr

    other = write_jsonl(tmp_path / "other.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    message = refused(prefs=other)
    assert "another preference data" in message and str(prefs) in message and str(other) in message
    chats = [{"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"}]
    chat = write_jsonl(tmp_path / "chat.jsonl", chats)
    assert sea("dpo", model_path, chat, "-o", cache, "--reference-only", "--force", *SHORT).code == 0
    (tmp_path / "t.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    assert "another chat template" in refused("--chat-template", tmp_path / "t.jinja", prefs=chat)
    write_tokenizer(tmp_path / "tok", names=("eos", "pad"))
    assert "another tokenizer" in refused("--tokenizer", tmp_path / "tok", prefs=chat)
    values, metadata = load_tensors(cache)
    save_tensors(cache, {name: array * np.nan for name, array in values.items()}, metadata)
    assert "not finite" in refused(prefs=chat)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(beta=0.0), dict(beta=float("nan")), dict(max_length=4), dict(batch_size=0), dict(micro_batch=-1),
        dict(epochs=0.0), dict(max_steps=0), dict(lr=2.0), dict(schedule="step"), dict(dtype="fp16"), dict(keep=0),
        dict(loss="kto"), dict(label_smoothing=0.5), dict(loss="ipo", label_smoothing=0.1), dict(sft_weight=-1.0),
        dict(neuron_langs=("th",)), dict(parallel="tp"), dict(optimizer="sgd"),
    ],
)  # fmt: skip
def test_options_that_make_no_run_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DPOOptions(**wrong)
