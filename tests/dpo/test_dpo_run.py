"""The loss of DPO against the equation, and the steps of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair, pairs_digest, read_pairs
from seatools.dpo.reference import compute_reference
from seatools.dpo.run import align
from seatools.dpo.sigmoid_loss import reward_margins, sigmoid_losses
from seatools.engine.load import load_model
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord, Rejects
from seatools.text.chat import load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

QUIET = Messages(quiet=True)


def load_pairs(model_path: Path, prefs: Path, **options: Any) -> list[Pair]:
    tokenizer = load_tokenizer(model_path)
    documents = Documents(tokenizer, load_chat_template(model_path))
    settings: dict[str, Any] = dict(max_length=100, rejects=Rejects(), limit=None)
    return read_pairs([str(prefs)], documents, **(settings | options))


def load(model_path: Path) -> Any:
    return load_model(model_path, device="cpu", dtype=torch.float32)


def plain_score(model: Any, doc: Any) -> torch.Tensor:
    """log p of the answer by the model's own logits on this document alone."""
    ids = torch.from_numpy(doc.ids.astype(np.int64))[None]
    log_probs = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1]
    return (log_probs.gather(1, ids[0, 1:, None])[:, 0] * torch.from_numpy(doc.loss_mask[1:].astype(np.float32))).sum()


def first_step(
    model: Any, pairs: list[Pair], reference: dict[str, np.ndarray], out: Path, **options: Any
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """What the first step of `align` logs, and the gradients it leaves, before they are clipped."""
    import orjson

    out.mkdir(exist_ok=True)
    settings: dict[str, Any] = dict(batch_size=len(pairs), max_steps=1, clip=1e9, lr=1e-9, save_every=0)
    align(
        model, pairs, reference, DPOOptions(**(settings | options)), out=out, pad_id=0, fingerprint={}, resume=False,
        messages=QUIET,
    )  # fmt: skip
    line = orjson.loads((out / "metrics.jsonl").read_bytes())
    return line, {name: p.grad.clone() for name, p in model.named_parameters()}


def other_reference(pairs: list[Pair]) -> dict[str, np.ndarray]:
    """A reference that is not the policy, so that losses and margins are not the ones of the first step."""
    draw = np.random.default_rng(0)
    return {name: draw.normal(-20, 5, len(pairs)).astype(np.float32) for name in ("chosen", "rejected")}


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_loss_rewards_and_gradients_are_those_of_the_plain_implementation(
    model_path: Path, prefs: Path, tmp_path: Path, beta: float
) -> None:
    pairs = load_pairs(model_path, prefs)
    reference = other_reference(pairs)
    plain = load(model_path)
    losses, margins = [], []
    for pair, ref_chosen, ref_rejected in zip(pairs, reference["chosen"], reference["rejected"], strict=True):
        chosen = plain_score(plain, pair.chosen) - float(ref_chosen)
        rejected = plain_score(plain, pair.rejected) - float(ref_rejected)
        margins.append(float((beta * (chosen - rejected)).detach()))
        losses.append(-torch.nn.functional.logsigmoid(beta * (chosen - rejected)))
    loss = torch.stack(losses).mean()
    loss.backward()
    row, gradients = first_step(load(model_path), pairs, reference, tmp_path / "out", beta=beta)
    assert row["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert row["reward_margin"] == pytest.approx(np.mean(margins), rel=1e-5)
    assert row["accuracy"] == pytest.approx(np.mean(np.array(margins) > 0))
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_the_loss_is_the_equation_of_the_paper() -> None:
    good, bad = reward_margins(torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -1.0]), torch.tensor([-1.5, -3.0]),
                               torch.tensor([-1.0, -2.0]), beta=0.5)  # fmt: skip
    assert good.tolist() == [0.25, 0.0] and bad.tolist() == [-0.5, 0.5]
    expected = [math.log(1 + math.exp(-0.75)), math.log(1 + math.exp(0.5))]
    assert sigmoid_losses(good, bad).tolist() == pytest.approx(expected, rel=1e-6)
    huge = sigmoid_losses(torch.tensor([-1000.0]), torch.tensor([0.0]))
    assert huge.tolist() == [1000.0]  # where log(sigmoid) would be infinite


def test_the_first_step_is_ln_2_with_margins_of_zero(model_path: Path, prefs: Path, tmp_path: Path) -> None:
    pairs = load_pairs(model_path, prefs)
    model = load(model_path)
    for batch_tokens in (1, 8192):  # however the reference was batched
        reference = compute_reference(model, pairs, 0, batch_tokens=batch_tokens, messages=QUIET)
        row, _ = first_step(load(model_path), pairs, reference, tmp_path / str(batch_tokens))
        assert row["loss"] == pytest.approx(math.log(2), abs=2e-6)
        for key in ("reward_chosen", "reward_rejected", "reward_margin"):
            assert row[key] == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_the_micro_batch_changes_neither_loss_nor_gradient(
    model_path: Path, prefs: Path, tmp_path: Path, micro_batch: int
) -> None:
    pairs = load_pairs(model_path, prefs)
    reference = other_reference(pairs)
    whole, gradients = first_step(load(model_path), pairs, reference, tmp_path / "a")
    cut, cut_gradients = first_step(load(model_path), pairs, reference, tmp_path / "b", micro_batch=micro_batch)
    for key in ("loss", "reward_chosen", "reward_rejected", "accuracy", "logp_chosen", "logp_rejected", "tokens"):
        assert cut[key] == pytest.approx(whole[key], rel=1e-5), key
    for name, gradient in gradients.items():
        torch.testing.assert_close(cut_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_reference_is_the_models_own_score_of_each_answer(model_path: Path, prefs: Path) -> None:
    pairs = load_pairs(model_path, prefs)
    model = load(model_path)
    reference = compute_reference(model, pairs, 0, batch_tokens=30, messages=QUIET)
    with torch.no_grad():
        for side in ("chosen", "rejected"):
            expected = [float(plain_score(model, getattr(pair, side))) for pair in pairs]
            np.testing.assert_allclose(reference[side], expected, rtol=1e-5)
            assert reference[side].dtype == np.float32


def test_only_the_answer_is_trained_and_both_sides_share_the_prompt(model_path: Path, prefs: Path) -> None:
    tokenizer = load_tokenizer(model_path)
    pair = load_pairs(model_path, prefs)[0]
    assert tokenizer.decode(pair.chosen.ids[pair.chosen.loss_mask == 1].tolist(), skip_special=False) == " 4</s>"
    assert tokenizer.decode(pair.rejected.ids[pair.rejected.loss_mask == 1].tolist(), skip_special=False) == " five</s>"
    assert tokenizer.decode(pair.chosen.ids[pair.chosen.loss_mask == 0].tolist(), skip_special=False) == "<s>2+2="


def test_messages_go_through_the_chat_template(model_path: Path, tmp_path: Path) -> None:
    from tiny_llama import write_jsonl

    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    prefs = write_jsonl(
        tmp_path / "p.jsonl",
        [
            {"prompt": prompt, "chosen": "Hello", "rejected": "Go"},
            {
                "prompt": prompt,
                "chosen": [{"role": "assistant", "content": "Hello"}],
                "rejected": [{"role": "assistant", "content": "Go"}],
            },
        ],
    )
    one, two = load_pairs(model_path, prefs)
    tokenizer = load_tokenizer(model_path)
    assert tokenizer.decode(one.chosen.ids.tolist(), skip_special=False) == (
        "<s><|system|>Be kind.<|user|>Hi<|assistant|>Hello</s>"
    )
    assert tokenizer.decode(one.rejected.ids[one.rejected.loss_mask == 1].tolist(), skip_special=False) == "Go</s>"
    assert pairs_digest([one]) == pairs_digest([two])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "a", "chosen": "same", "rejected": "same"}, "identical answers"),
        ({"prompt": "a", "chosen": "x" * 99, "rejected": "y"}, "too long"),
        ({"prompt": "a", "chosen": "x", "rejected": "y" * 99}, "too long"),
        ({"prompt": "a", "chosen": "x", "rejected": "  "}, "empty answer"),
        ({"prompt": "a", "chosen": "x"}, "no rejected"),
    ],
)
def test_a_pair_that_teaches_nothing_is_a_reject_with_its_line(
    model_path: Path, tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    from tiny_llama import write_jsonl

    prefs = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a", "chosen": "x", "rejected": "y"}, record])
    with pytest.raises(BadRecord) as caught:
        load_pairs(model_path, prefs)
    assert caught.value.reason == reason and str(caught.value).startswith(f"{prefs}:2: ")
    rejects = Rejects("skip")
    assert len(load_pairs(model_path, prefs, rejects=rejects)) == 1
    assert rejects.counts == {reason: 1}


def test_the_digest_of_pairs_sees_tokens_masks_and_order(model_path: Path, prefs: Path) -> None:
    pairs = load_pairs(model_path, prefs)
    digest = pairs_digest(pairs)
    assert pairs_digest(load_pairs(model_path, prefs)) == digest
    swapped = [Pair(pairs[0].rejected, pairs[0].chosen), *pairs[1:]]
    assert len({digest, pairs_digest(pairs[::-1]), pairs_digest(pairs[:-1]), pairs_digest(swapped)}) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        dict(beta=0.0), dict(beta=float("nan")), dict(max_length=4), dict(batch_size=0), dict(micro_batch=-1),
        dict(epochs=0.0), dict(max_steps=0), dict(lr=2.0), dict(schedule="step"), dict(dtype="fp16"), dict(keep=0),
    ],
)  # fmt: skip
def test_options_that_make_no_run_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DPOOptions(**wrong)
