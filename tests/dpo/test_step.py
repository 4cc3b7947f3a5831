"""The loss and gradient of a step of pairs: however it is cut, with shared prompts or not, by one process or two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pair_runs import SHARING, Options, Run, gradients_of, pair_of

from seatools.dpo.losses import PairLogProbs, pair_losses, sft_losses
from seatools.engine.world import SINGLE


def taken(name: str = "full", **options: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    run = Run(name, SINGLE, Options(**options))
    return run.gradients(1), gradients_of(run)


def plain(options: Options) -> tuple[float, dict[str, torch.Tensor], list[tuple[float, float]]]:
    """Loss, gradients and log-probabilities of step 1 from the model's own logits, pair by pair."""
    run = Run("full", SINGLE, options)
    model, numbers = run.model, run.gradients.row_numbers(1)
    model.set_attn_implementation("sdpa")
    sides: list[list[torch.Tensor]] = [[], []]
    for number in numbers:
        for side, doc in zip(sides, (run.pairs[number].chosen, run.pairs[number].rejected), strict=True):
            ids = torch.from_numpy(doc.ids.astype(np.int64))[None]
            found = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            side.append(found[:, 0][torch.from_numpy(doc.loss_mask[1:]).bool()])
    sums = [torch.stack([x.sum() for x in side]) for side in sides]
    counts = [torch.tensor([float(len(x)) for x in side]) for side in sides]
    policy = PairLogProbs(*sums, *counts)
    reference = [torch.from_numpy(run.reference[key][numbers]) for key in ("chosen", "rejected")]
    losses, _, _ = pair_losses(
        options.loss, policy, *reference, beta=options.beta, label_smoothing=options.label_smoothing
    )
    loss = losses.mean() + options.sft_weight * sft_losses(policy, float(counts[0].sum())).sum()
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return float(loss), grads, [(float(a), float(b)) for a, b in zip(*sums, strict=True)]


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], tolerance: float = 2e-6) -> None:
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert (gradient - two[name]).norm() <= tolerance * (1e-3 + two[name].norm()), name


@pytest.mark.parametrize(
    "options", [{}, {"loss": "ipo", "sft_weight": 0.3}, {"loss": "robust", "label_smoothing": 0.2}]
)
@pytest.mark.parametrize("share", [False, True])
def test_a_step_is_the_plain_computation(options: dict[str, Any], share: bool) -> None:
    row, gradients = taken(share_prompt=share, **options)
    loss, wanted, log_probs = plain(Options(**options))
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    assert (row["logp_chosen"], row["logp_rejected"]) == pytest.approx(tuple(np.mean(log_probs, 0)), rel=1e-5)
    same(gradients, wanted, 1e-5)


@pytest.mark.parametrize("micro_batch", [0, 1, 2, 3])
@pytest.mark.parametrize("share", [False, True])
def test_the_micro_batch_changes_neither_figures_nor_gradients(
    monkeypatch: pytest.MonkeyPatch, micro_batch: int, share: bool
) -> None:
    monkeypatch.setattr("seatools.dpo.passes.PASS_TOKENS_CPU", 40)
    more = {"loss": "sigmoid_norm", "sft_weight": 0.5, "share_prompt": share}
    (whole, wanted), (row, gradients) = taken(micro_batch=5, **more), taken(micro_batch=micro_batch, **more)
    same(gradients, wanted)
    assert {key: row[key] for key in ("tokens", "targets", "rows", "context", "epoch")} == {
        key: whole[key] for key in ("tokens", "targets", "rows", "context", "epoch")
    }
    for key in ("loss", "reward_chosen", "reward_rejected", "reward_margin", "accuracy", "logp_chosen", "kl"):
        assert row[key] == pytest.approx(whole[key], rel=1e-5, abs=1e-6)


def test_the_figures_are_those_of_the_pairs() -> None:
    run = Run("full", SINGLE, Options())
    row, beta = run.gradients(1), Options().beta
    numbers = row["rows"]
    _, _, log_probs = plain(Options())
    ratios = np.array(log_probs) - np.stack([run.reference["chosen"], run.reference["rejected"]], 1)[numbers]
    tokens = np.array([[run.pairs[n].chosen.num_targets, run.pairs[n].rejected.num_targets] for n in numbers])
    margins = beta * (ratios[:, 0] - ratios[:, 1])
    assert row["reward_chosen"] == pytest.approx(beta * ratios[:, 0].mean(), rel=1e-4)
    assert row["reward_margin"] == pytest.approx(margins.mean(), rel=1e-4)
    assert row["accuracy"] == pytest.approx((margins > 0).mean())
    assert row["kl"] == pytest.approx(-(ratios / tokens).mean(), rel=1e-4)
    langs = [run.pairs[n].lang for n in numbers]
    assert set(row["by_lang"]) == set(langs) and len(set(langs)) == 2
    for lang, found in row["by_lang"].items():
        of = margins[[one == lang for one in langs]]
        assert found["n"] == len(of) and found["accuracy"] == pytest.approx((of > 0).mean())
        assert found["margin"] == pytest.approx(of.mean(), rel=1e-4)
    lengths = [len(doc.ids) for n in numbers for doc in (run.pairs[n].chosen, run.pairs[n].rejected)]
    assert row["tokens"] == sum(lengths) and row["targets"] == tokens.sum()
    shared = Run("full", SINGLE, Options(share_prompt=True)).gradients(1)
    assert shared["tokens"] == sum(lengths) - sum(run.pairs[n].shared - 1 for n in numbers)


def test_a_pair_that_a_step_reads_twice_counts_twice() -> None:
    """As where an epoch ends within a step: 7 pairs, 5 a step."""
    run = Run("full", SINGLE, Options())
    step = next(s for s in range(2, 99) if len(set(run.gradients.row_numbers(s))) < 5)
    row = run.gradients(step)
    of = [run.pairs[n] for n in row["rows"]]
    assert row["tokens"] == sum(len(doc.ids) for pair in of for doc in (pair.chosen, pair.rejected))
    assert sum(found["n"] for found in row["by_lang"].values()) == 5


def test_a_reference_that_is_the_policy_starts_from_nothing() -> None:
    run = Run("full", SINGLE, Options())
    _, _, log_probs = plain(Options())
    for key, values in zip(("chosen", "rejected"), zip(*log_probs, strict=True), strict=True):
        run.gradients.reference[("chosen", "rejected").index(key), run.gradients.row_numbers(1)] = torch.tensor(values)
    row = run.gradients(1)
    assert row["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert [row[key] for key in ("reward_margin", "kl", "reward_chosen")] == pytest.approx([0, 0, 0], abs=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("two-processes")
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    from seatools.engine.launch import _free_port

    script = Path(__file__).parents[1] / "pair_runs.py"
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            stderr=subprocess.PIPE,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )  # fmt: skip
        for rank in range(2)
    ]
    try:
        said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(said)
    for name, share in SHARING.items():
        run = Run(name, SINGLE, Options(share_prompt=share, sft_weight=0.2))
        rows = [run.gradients(1)]
        two = torch.load(tmp_path / f"{name}.pt")
        same(two["gradients"], gradients_of(run), 1e-5)
        run.forget()
        rows.append(run.gradients(2))
        for row, other in zip(rows, two["rows"], strict=True):
            assert row["by_lang"].keys() == other["by_lang"].keys()
            for key in ("loss", "reward_margin", "accuracy", "kl", "logp_rejected"):
                assert other[key] == pytest.approx(row[key], rel=1e-5, abs=1e-6), (name, key)
            assert other["rows"] == row["rows"] and other["tokens"] == row["tokens"]


def test_pairs_are_of_every_kind() -> None:
    """No pair of the runs is alike another in its lengths, and one shares nothing."""
    sizes = [(len(pair.chosen.ids), len(pair.rejected.ids), pair.shared) for pair in map(pair_of, range(7))]
    assert len(set(sizes)) == 7 and min(shared for _, _, shared in sizes) == 1
