"""`sea dpo` from the command line: what it writes, resumes and refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import files_in, read_metrics, read_weights, write_jsonl, write_model, write_tokenizer

from seatools.streams.tensors import load_tensors

Sea = Callable[..., Any]
SHORT = ("--batch-size", 2, "--max-steps", 4, "--save-every", 2, "--lr", "1e-3", "--max-length", 64, "-q")


@pytest.fixture
def stop_at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the next run end in the middle of a step; `stop(0)`: not at all."""
    import seatools.dpo.step as step_module

    real = step_module.answer_log_probs

    def stop(step: int) -> None:
        calls: list[int] = []

        def answer_log_probs(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        monkeypatch.setattr(step_module, "answer_log_probs", answer_log_probs)

    return stop


@pytest.fixture
def counted_references(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a reference is computed."""
    import seatools.dpo.session as session

    real, calls = session.compute_reference, []

    def compute(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(session, "compute_reference", compute)
    return calls


def same_run(one: Path, two: Path) -> bool:
    assert read_metrics(one) == read_metrics(two)
    assert [line["step"] for line in read_metrics(two)] == [1, 2, 3, 4]
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    return True


def test_a_run_leaves_model_tokenizer_metrics_reference_and_manifest(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "out"
    result = sea("dpo", model_path, prefs, "-o", out, *SHORT)
    assert (result.code, result.stdout, result.stderr) == (0, b"", "")
    metrics = read_metrics(out)
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]
    assert {"loss", "reward_margin", "accuracy", "lr", "grad_norm", "tokens"} <= metrics[0].keys()
    assert all(line["lr"] > 0 for line in metrics)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    values, metadata = load_tensors(out / "reference.safetensors")
    assert {name: array.shape for name, array in values.items()} == {"chosen": (5,), "rejected": (5,)}
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    parameters = sum(weight.numel() for weight in read_weights(out).values())
    assert manifest["counts"] == {
        "steps": 4, "pairs": 5, "pairs_an_epoch": 5, "mix": "pairs 5", "trained_parameters": parameters,
    }  # fmt: skip
    assert {row["path"] for row in manifest["inputs"]} == {str(model_path), str(prefs)}
    loaded = AutoModelForCausalLM.from_pretrained(out).state_dict()
    checkpoint = read_weights(out / "checkpoints" / "step-4")
    assert all(torch.equal(loaded[name], weight) for name, weight in checkpoint.items())
    assert AutoTokenizer.from_pretrained(out)("a")["input_ids"]


def test_epochs_take_every_pair_as_often(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert sea("dpo", model_path, prefs, "-o", out, "--batch-size", 1, "--epochs", 2, "--lr", "1e-9", "-q").code == 0
    metrics = read_metrics(out)
    assert len(metrics) == 10
    for epoch in (metrics[:5], metrics[5:]):
        assert len({round(line["logp_chosen"], 2) for line in epoch}) == 5


def test_a_reference_made_before_gives_the_same_run_and_is_not_computed_again(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path, counted_references: list[int]
) -> None:
    reference = tmp_path / "ref.safetensors"
    assert sea("dpo", model_path, prefs, "-o", reference, "--reference-only", *SHORT).code == 0
    assert json.loads((tmp_path / "ref.safetensors.manifest.json").read_bytes())["counts"] == {"pairs": 5}
    assert len(counted_references) == 1
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "a", "--reference", reference, *SHORT).code == 0
    assert len(counted_references) == 1
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "b", *SHORT).code == 0
    assert len(counted_references) == 2
    assert same_run(tmp_path / "a", tmp_path / "b")
    inputs = json.loads((tmp_path / "a.manifest.json").read_bytes())["inputs"]
    assert str(reference) in [row["path"] for row in inputs]


def test_a_reference_of_another_model_or_other_pairs_is_refused(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "ref.safetensors"
    assert sea("dpo", model_path, prefs, "-o", reference, "--reference-only", *SHORT).code == 0
    write_tokenizer(tmp_path / "other")
    write_model(tmp_path / "other", seed=5)
    model = sea("dpo", tmp_path / "other", prefs, "-o", tmp_path / "o", "--reference", reference, *SHORT)
    assert model.code == 1 and "the reference of another model" in model.stderr
    fewer = sea("dpo", model_path, prefs, "-o", tmp_path / "o", "--reference", reference, "--limit", 4, *SHORT)
    assert fewer.code == 1 and "the reference of another preference data" in fewer.stderr
    foreign = sea("dpo", model_path, prefs, "-o", tmp_path / "o", "--reference", model_path / "model.safetensors",
                  *SHORT)  # fmt: skip
    assert foreign.code == 1 and "another format" in foreign.stderr
    assert not (tmp_path / "o").exists()


def test_a_reference_in_another_number_format_is_used_with_a_warning(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "ref.safetensors"
    assert sea("dpo", model_path, prefs, "-o", reference, "--reference-only", "--dtype", "bf16", *SHORT).code == 0
    result = sea("dpo", model_path, prefs, "-o", tmp_path / "o", "--reference", reference, "--dtype", "fp32", *SHORT)
    assert result.code == 0 and "computed in torch.bfloat16; this run is in torch.float32" in result.stderr


def test_a_run_fed_by_a_pipe_resumes_without_it(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    text = prefs.read_bytes()
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "whole", *SHORT).code == 0
    out = tmp_path / "out"
    stop_at_step(4)
    assert sea("dpo", model_path, "-", "-o", out, *SHORT, stdin=text).code == 130
    stop_at_step(0)
    resumed = sea("dpo", model_path, "-o", out, *SHORT, "--resume")
    assert resumed.code == 0, resumed.stderr
    assert same_run(tmp_path / "whole", out)
    rows = json.loads(Path(f"{out}.manifest.json").read_bytes())["inputs"]
    assert {"path": "-", "sha256": hashlib.sha256(text).hexdigest()} in rows
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_files_beside_a_pipe_are_named_again_to_resume(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    more = write_jsonl(tmp_path / "more.jsonl", [{"prompt": "q", "chosen": "r", "rejected": "s"}])
    out, text = tmp_path / "out", more.read_bytes()
    stop_at_step(4)
    assert sea("dpo", model_path, prefs, "-", "-o", out, *SHORT, stdin=text).code == 130
    stop_at_step(0)
    assert sea("dpo", model_path, "-o", out, *SHORT, "--resume").code != 0
    assert sea("dpo", model_path, prefs, "-", "-o", out, *SHORT, "--resume").code == 0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (("--lr", "2e-3"), "lr"),
        (("--beta", "0.2"), "beta"),
        (("--seed", 1), "seed"),
        (("--batch-size", 3), "batch_size"),
        (("--schedule", "cosine"), "schedule"),
        (("--max-steps", 5), "max_steps"),
        (("--clip", "inf"), "clip"),
    ],
)
def test_other_options_are_refused_by_name(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path, change: tuple[Any, ...], name: str
) -> None:
    out = tmp_path / "out"
    assert sea("dpo", model_path, prefs, "-o", out, *SHORT).code == 0
    before = files_in(tmp_path)
    result = sea("dpo", model_path, prefs, "-o", out, *SHORT, *change, "--resume")
    assert result.code == 2 and f"belongs to another run: {name} was" in result.stderr
    assert files_in(tmp_path) == before


def test_rejects_are_counted_and_the_rest_is_trained_on(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path
) -> None:
    bad = [{"prompt": "a", "chosen": "b", "rejected": "b"}, {"prompt": "a", "chosen": "b" * 99, "rejected": "c"}]
    write_jsonl(tmp_path / "bad.jsonl", bad)
    with open(tmp_path / "bad.jsonl", "ab") as file:
        file.write(prefs.read_bytes() + b"nonsense\n")
    out = tmp_path / "out"
    stopped = sea("dpo", model_path, tmp_path / "bad.jsonl", "-o", out, *SHORT)
    assert stopped.code == 1 and "bad.jsonl:1" in stopped.stderr and not out.exists()
    result = sea("dpo", model_path, tmp_path / "bad.jsonl", "-o", out, *SHORT, "--on-error", "skip")
    assert result.code == 0 and "3 rejected" in result.stderr
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    assert manifest["rejects"] == {"broken json": 1, "identical answers": 1, "too long": 1}
    assert manifest["counts"]["pairs"] == 5
    assert sea("dpo", model_path, prefs, "-o", tmp_path / "clean", *SHORT).code == 0
    assert same_run(tmp_path / "clean", out)


@pytest.mark.parametrize("source", ["file", "stdin", "all dropped"])
def test_no_pair_at_all_is_an_error_that_leaves_nothing(
    sea: Sea, model_path: Path, tmp_path: Path, source: str
) -> None:
    content = b"" if source != "all dropped" else b'{"prompt": "a", "chosen": "b", "rejected": "b"}\n'
    (tmp_path / "empty.jsonl").write_bytes(content)
    specs = "-" if source == "stdin" else tmp_path / "empty.jsonl"
    result = sea("dpo", model_path, specs, "-o", tmp_path / "out", *SHORT, "--on-error", "skip", stdin=content)
    assert result.code == 1 and "no preference pair to learn from" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty.jsonl"]


def test_pairs_beyond_the_models_positions_are_rejects_and_a_longer_max_length_a_mistake(
    sea: Sea, model_path: Path, tmp_path: Path
) -> None:
    prefs = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a" * 200, "chosen": "b", "rejected": "c"}])
    result = sea("dpo", model_path, prefs, "-o", tmp_path / "out", "-q")
    assert result.code == 1 and "p.jsonl:1: the prompt has 201 tokens; --max-length is 128" in result.stderr
    result = sea("dpo", model_path, prefs, "-o", tmp_path / "out", "-q", "--max-length", 300)
    assert result.code == 2 and "128 positions" in result.stderr and "--max-length 128 or less" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


@pytest.mark.parametrize(
    "mistake", [("--schedule", "step"), ("--dtype", "fp16"), ("--reference", "none.safetensors"), ("none.jsonl",)]
)
def test_a_mistake_with_force_costs_nothing_that_was_there(
    sea: Sea, model_path: Path, prefs: Path, tmp_path: Path, mistake: tuple[str, ...]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("precious")
    result = sea("dpo", model_path, prefs, "-o", tmp_path / "out", *SHORT, "--force", *mistake)
    assert result.code in (1, 2) and result.stderr.startswith("error: ") and "unexpected" not in result.stderr
    assert files_in(tmp_path / "out") == {"model.safetensors": b"precious"}


def test_force_replaces_a_run_whole(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in (b"", prefs.read_bytes()):
        out.mkdir(exist_ok=True)
        (out / "stale.txt").write_text("x")
        result = sea("dpo", model_path, "-", "-o", out, *SHORT, "--force", stdin=text)
        assert (result.code == 0) == bool(text)
        assert (out / "stale.txt").exists() == (not text)
    assert {"preferences.jsonl", "reference.safetensors", "config.json"} <= {path.name for path in out.iterdir()}


def test_usage_mistakes_are_named(sea: Sea, model_path: Path, prefs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, words in (
        ((model_path, "-o", out), "no PREFS"),
        ((model_path, "-o", out, "--resume"), "no preferences to resume with"),
        ((model_path, prefs, "-o", out, "--resume", "--force"), "contradicts"),
        ((model_path, prefs, "-o", out, "--reference-only", "--reference", prefs), "contradicts"),
        ((model_path, prefs, "-o", model_path), "both input and output"),
        ((model_path, prefs, "-o", prefs, "--reference-only", "--force"), "both input and output"),
    ):
        result = sea("dpo", *arguments)
        assert result.code == 2 and words in result.stderr, result.stderr
        assert not out.exists()


def test_dry_run_writes_nothing_and_imports_no_torch(model_path: Path, prefs: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from seatools.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'\n"
        "sys.exit(code)"
    )
    with open(prefs, "ab") as file:
        file.write(b"nonsense\n")
    before = files_in(tmp_path)
    command = ["dpo", model_path, prefs, "-o", tmp_path / "out", "--dry-run", "--on-error", "quarantine"]
    result = subprocess.run([sys.executable, "-c", script, *map(str, command)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "5 pairs" in result.stderr and "1 rejected" in result.stderr
    assert files_in(tmp_path) == before and not (tmp_path / "out").exists()
