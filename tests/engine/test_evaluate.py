"""Evaluation while training: the figures of `sea eval perplexity`, however ranks and batches cut it."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.evaluate import EvalSet, eval_set, evaluate_sets
from seatools.streams.errors import SeaError

CONTEXT = 1


def texts(seed: int, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(3, 97, size=int(n)) for n in random.integers(1, 50, size=count)]


@pytest.fixture
def sets() -> list[EvalSet]:
    return [
        eval_set(name, own, [2 * len(ids) for ids in own], context_id=CONTEXT, window=17, stride=8)
        for name, own in (("th", texts(0, 7)), ("en", texts(1, 5)))
    ]


def test_equals_sea_eval(sea, shared, tmp_path):
    from seatools.engine.eval_data import eval_paths, read_eval_sets
    from seatools.engine.load import load_model, max_positions
    from seatools.text.tokenizer import load_tokenizer

    folder = shared / "models/stories260K"
    data = {}
    for lang, name in (("en", "eng_Latn"), ("vi", "vie_Latn")):
        lines = (shared / f"data/flores200/dev/{name}.txt").read_text("utf-8").splitlines()
        data[lang] = tmp_path / f"{lang}.txt"
        data[lang].write_text("\n".join([*lines[:12], " ".join(lines[12:24])]) + "\n", "utf-8")  # the last: windows
    arguments = [f"{lang}={path}" for lang, path in data.items()]
    done = sea("eval", folder, "perplexity", "--device", "cpu", *(x for a in arguments for x in ("--data", a)))
    assert done.code == 0, done.stderr
    theirs = {row["lang"]: row for row in map(json.loads, done.stdout.splitlines()) if row["metric"] == "bits_per_byte"}

    model = load_model(folder, device="cpu", dtype=torch.float32)
    tokenizer = load_tokenizer(folder)
    own = read_eval_sets(eval_paths(arguments), tokenizer, positions=max_positions(model.config))
    assert any(len(one.readings) > 13 for one in own)
    figures = evaluate_sets(model, own, pad_id=0, batch_tokens=600)
    assert figures is not None and set(figures) == set(theirs)
    for lang, row in theirs.items():
        assert figures[lang]["bits_per_byte"] == pytest.approx(row["value"], rel=1e-6)
        assert figures[lang]["tokens"] == row["config"]["tokens"]


def test_batches_change_rounding_only(tiny_model, sets):
    model = tiny_model()
    one, many = (evaluate_sets(model, sets, pad_id=0, batch_tokens=size) for size in (1, 10_000))
    assert one is not None and many is not None
    for name in ("th", "en"):
        assert one[name] == pytest.approx(many[name], rel=1e-5)


@pytest.mark.parametrize("ranks", [2, 3, 40])
def test_ranks_share_the_work_and_agree(tiny_model, sets, ranks):
    whole = evaluate_sets(tiny_model(), sets, pad_id=0)
    found, batches = in_threads(tiny_model, sets, ranks)
    assert whole is not None
    for figures in found:
        assert figures is not None
        for name in whole:
            assert figures[name] == pytest.approx(whole[name], rel=1e-5)
    assert len(set(batches)) == 1  # as many forward passes on every rank: FSDP gathers weights in each


def test_a_stop_on_one_rank_stops_all(tiny_model, sets):
    found, _ = in_threads(tiny_model, sets, 3, stopping=1)
    assert found == [None, None, None]


def test_stop_is_asked_before_each_batch(tiny_model, sets):
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    assert evaluate_sets(tiny_model(), sets, pad_id=0, batch_tokens=20, stop=stop) is None
    assert len(asked) == 4


def test_model_is_left_as_it_was(tiny_model, sets):
    model = tiny_model().train()
    evaluate_sets(model, sets, pad_id=0)
    assert model.training and all(p.grad is None for p in model.parameters())


def test_what_cannot_be_scored_is_an_error(tiny_model, sets):
    with pytest.raises(SeaError, match="no text to evaluate for lo"):
        eval_set("lo", [np.array([], dtype=np.int64)], [0], context_id=CONTEXT, window=17, stride=8)
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(SeaError, match="evaluation of th.*not finite"):
        evaluate_sets(model, sets, pad_id=0)


def in_threads(tiny_model: Any, sets: list[EvalSet], ranks: int, stopping: int | None = None) -> tuple[list, list[int]]:
    """Every rank as a thread with a model of its own; sums meet at a barrier. (figures, batches run) of each."""
    from seatools.engine.loss import target_log_probs

    barrier, place, results, batches = threading.Barrier(ranks), {}, [None] * ranks, [0] * ranks
    models = [tiny_model() for _ in range(ranks)]

    def run(rank: int) -> None:
        def total(tensor: torch.Tensor) -> torch.Tensor:
            place[rank] = tensor
            barrier.wait(20)
            summed = torch.stack([place[other] for other in range(ranks)]).sum(0)
            barrier.wait(20)
            return summed

        def log_probs(model: Any, batch: Any) -> Any:
            batches[rank] += 1
            return target_log_probs(model, batch)

        results[rank] = evaluate_sets(
            models[rank], sets, pad_id=0, batch_tokens=40, rank=rank, ranks=ranks, sum_over_ranks=total,
            stop=lambda: rank == stopping and batches[rank] == 2, log_probs=log_probs,
        )  # fmt: skip

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, batches
