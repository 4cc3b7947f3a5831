"""Whole runs of `sea dpo`: killed and resumed, by two processes, on neurons alone, on a mix, and what they learn."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import VOCABULARY, read_metrics, read_weights, write_jsonl
from tiny_neurons import weight_name, write_neurons

Sea = Callable[..., Any]
SIX = ("--batch-size", 2, "--max-steps", 6, "--save-every", 2, "--lr", "1e-3", "--max-length", 64, "-q")
KILLED_IN_STEP_5 = """
import os, signal, sys
import seatools.dpo.step as step
from seatools.cli import main
real, calls = step.answer_log_probs, []
def answer_log_probs(*arguments, **options):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
step.answer_log_probs = answer_log_probs
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def separable(tmp_path: Path) -> Path:
    """Pairs of two languages that one rule tells apart."""
    records = [
        {"prompt": f"{name}{i}", "chosen": f" ya{i}", "rejected": f" no{i}", "lang": name}
        for i in range(6) for name in ("th", "lo")
    ]  # fmt: skip
    return write_jsonl(tmp_path / "separable.jsonl", records)


def same_run(one: Path, two: Path) -> bool:
    files = ("model.safetensors", "reference.safetensors", "checkpoints/step-6/optimizer.safetensors")
    assert read_metrics(one) == read_metrics(two)
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    return True


def test_a_killed_run_resumed_ends_with_the_same_bits(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert sea("dpo", model_path, prefs, "-o", whole, *SIX).code == 0
    command = [str(word) for word in ("dpo", model_path, prefs, "-o", killed, *SIX)]
    died = subprocess.run([sys.executable, "-c", KILLED_IN_STEP_5, *command], capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [line["step"] for line in read_metrics(killed)] == [1, 2, 3, 4]
    assert not (killed / "config.json").exists()
    made = (killed / "reference.safetensors").stat().st_mtime_ns
    assert sea(*command, "--resume").code == 0
    assert same_run(whole, killed)
    assert (killed / "reference.safetensors").stat().st_mtime_ns == made  # computed once


def launched(*words: object) -> None:
    command = [sys.executable, "-m", "seatools", *map(str, words), "--nproc", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr


def test_two_processes_with_shared_weights_equal_one_and_one_goes_on_with_their_run(
    sea: Sea, model_path: Path, separable: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    few = write_jsonl(tmp_path / "few.jsonl", [{"prompt": "x", "chosen": "y", "rejected": "z"}])
    words = (f"a={separable}:2", f"b={few}:1", *SIX)
    assert sea("dpo", model_path, *words, "-o", one).code == 0
    launched("dpo", model_path, *words, "-o", two)
    assert not [path.name for path in two.iterdir() if path.name.startswith(".")]

    def alike() -> bool:
        for mine, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
            assert mine["tokens"] == theirs["tokens"] and mine["by_lang"].keys() == theirs["by_lang"].keys()
            for key in ("loss", "grad_norm", "reward_margin", "kl", "logp_chosen"):
                assert theirs[key] == pytest.approx(mine[key], rel=1e-3, abs=1e-5), key
        return True

    assert alike()
    shutil.rmtree(two / "checkpoints" / "step-6")
    (two / "model.safetensors").unlink()
    assert sea("dpo", model_path, *words, "-o", two, "--resume").code == 0
    assert alike() and (two / "model.safetensors").exists()


def test_neurons_alone_change_no_other_weight_and_make_a_patch(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from seatools.engine.patch import load_patch

    chosen = {weight_name("up_proj"): [3, 7, 20], weight_name("o_proj", 0): [1, 30]}
    file = write_neurons(AutoModelForCausalLM.from_pretrained(model_path), tmp_path / "n.safetensors", {"th": chosen})
    out, patch = tmp_path / "out", tmp_path / "th.patch"
    words = ("--neurons", file, "--neuron-langs", "th", "--save-patch", patch, "--resume")
    assert sea("dpo", model_path, prefs, "-o", out, *SIX, *words).code == 0
    before, after = read_weights(model_path), read_weights(out)
    for name, weight in before.items():
        moved = after[name] != weight
        mine = chosen.get(name.removesuffix(".weight"))
        if mine is None:
            assert not moved.any(), name
            continue
        across = moved.any(dim=0 if "o_proj" in name else 1)
        assert across.nonzero().flatten().tolist() == mine, name
    assert set(load_patch(patch).parts) == {f"{name}.weight" for name in chosen}
    # what is free: the reference can be made again from MODEL, where the old values of the neurons are
    (out / "reference.safetensors").rename(tmp_path / "first.safetensors")
    assert sea("dpo", model_path, prefs, "-o", out, *SIX, *words).code == 0
    assert (out / "reference.safetensors").read_bytes() == (tmp_path / "first.safetensors").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ("--loss", "sigmoid"),
        ("--loss", "apo_zero", "--sft-weight", "0.1"),
        ("--preset", "sambalingo-dpo"),
    ],
)
def test_separable_pairs_are_told_apart_in_each_language(
    sea: Sea, model_path: Path, separable: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    words = ("--batch-size", 12, "--max-steps", 12, "--lr", "3e-3", "--warmup", 0, "-q")
    assert sea("dpo", model_path, separable, "-o", tmp_path / "out", *options, *words).code == 0
    last = read_metrics(tmp_path / "out")[-1]
    assert last["accuracy"] == 1 and last["reward_margin"] > 0 and last["reward_chosen"] > last["reward_rejected"]
    assert {lang: (row["accuracy"], row["n"]) for lang, row in last["by_lang"].items()} == {"lo": (1, 6), "th": (1, 6)}
    assert all(row["margin"] > 0 for row in last["by_lang"].values())


def test_a_mix_reads_its_sources_in_shares_and_is_part_of_the_run(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    for name, count in (("en", 8), ("th", 2)):
        records = [{"prompt": f"{name} {i}", "chosen": "a", "rejected": "b"} for i in range(count)]
        write_jsonl(tmp_path / f"{name}.jsonl", records)
    english, thai = (f"{name}={tmp_path}/{name}.jsonl" for name in ("en", "th"))
    words = ("-o", tmp_path / "out", "--batch-size", 4, "--epochs", 1, "-q")
    assert sea("dpo", model_path, f"{english}:2", f"{thai}:1", *words).code == 0
    lines = read_metrics(tmp_path / "out")
    assert len(lines) == 3
    seen = {name: sum(line["by_lang"].get(name, {}).get("n", 0) for line in lines) for name in ("en", "th")}
    assert seen == {"en": 8, "th": 4}
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    assert manifest["counts"]["mix"] == "en 8 x 2 + th 2 x 1" and manifest["counts"]["pairs_an_epoch"] == 12
    assert [row.get("source") for row in manifest["inputs"]] == ["en", "th", None]
    other = sea("dpo", model_path, f"{english}:1", f"{thai}:1", *words, "--max-steps", 3, "--resume")
    assert other.code == 2 and "mix was en 8 x 2 + th 2 x 1, now en 8 x 1 + th 2 x 1" in other.stderr


def test_held_out_text_is_watched_and_curves_are_drawn(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    held = write_jsonl(tmp_path / "held.jsonl", [{"text": "terima kasih"}])
    words = ("--eval-data", f"id={held}", "--source-lang", "id", "--plot", tmp_path / "c.svg")
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "out", *SIX, *words).code == 0
    first, last = (line for line in read_metrics(tmp_path / "out") if line.get("kind") == "eval")
    assert (first["step"], last["step"], first["forgetting"]) == (0, 6, 0)
    rise = last["id"]["bits_per_byte"] / first["id"]["bits_per_byte"] - 1
    assert last["forgetting"] == pytest.approx(rise) and rise != 0
    assert (tmp_path / "c.svg").read_bytes().startswith(b"<?xml") and not (tmp_path / "out" / "curves.png").exists()


def test_a_language_that_is_forgotten_stops_the_run_after_a_save(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    """Exit code 3, the step's checkpoint and figures kept; the same command with more room goes on from there."""
    held = write_jsonl(tmp_path / "held.jsonl", [{"text": "no?no?no?batu five"}])
    out = tmp_path / "out"
    words = ("--batch-size", 2, "--max-steps", 4, "--lr", "3e-2", "--warmup", 0, "--schedule", "constant", "--no-plot")
    watch = ("--eval-data", f"id={held}", "--source-lang", "id", "--eval-every", 2, "--max-length", 64, "-q")
    stopped = sea("dpo", model_path, prefs, "-o", out, *words, *watch, "--on-forgetting", "stop")
    assert stopped.code == 3 and "id is being forgotten" in stopped.stderr, stopped.stderr
    last = [line for line in read_metrics(out) if line.get("kind") == "eval"][-1]
    assert last["step"] == 2 and last["forgetting"] > 0.05
    assert (out / "checkpoints" / "step-2").is_dir() and not (out / "config.json").exists()
    warned = sea("dpo", model_path, prefs, "-o", out, *words, *watch, "--resume")
    assert warned.code == 0 and (out / "config.json").exists()
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "straight", *words, *watch).code == 0
    assert read_metrics(out) == read_metrics(tmp_path / "straight")


def test_a_dry_run_tells_pairs_steps_and_memory(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    words = ("-o", tmp_path / "out", "--dry-run", "--json", "--memory", "0.1", "--device", "cpu", "--dtype", "fp32")
    result = sea("dpo", model_path, f"id={prefs}", *words)
    plan = json.loads(result.stdout)
    parameters = sum(weight.numel() for weight in read_weights(model_path).values())
    assert (plan["pairs"], plan["langs"], plan["steps"], plan["fits"]) == (5, {"id": 5}, 3, False)
    assert plan["parameters"] == plan["trained_parameters"] == parameters
    assert plan["memory"]["weights"] == 4 * parameters and 0 < plan["shared_share"] < 0.5
    assert not (tmp_path / "out").exists()
    fewer = sea("dpo", model_path, prefs, *words, "--train", "new-rows", "--first-new-row", VOCABULARY - 2)
    assert json.loads(fewer.stdout)["trained_parameters"] == 2 * 2 * 32
    script = sea("dpo", model_path, prefs, "-o", tmp_path / "out", "--print-launch", "slurm", "--nproc", 2)
    assert script.code == 0 and b"sea dpo" in script.stdout and b"--resume" in script.stdout


def test_a_bf16_run_without_masters_says_how_many_steps_are_lost(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    words = ("--dtype", "bf16", "--no-masters", "--lr", "1e-6", "--warmup", 0)
    result = sea("dpo", model_path, prefs, "-o", tmp_path / "out", *SIX, *words)
    assert "without fp32 masters small steps are lost" in result.stderr or "changed no weight" in result.stderr
    assert torch.finfo(torch.bfloat16).eps > 1e-6
