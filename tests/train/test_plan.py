"""`--dry-run`: the plan's figures against the model, the data and the run that it plans."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_llama import TEXTS, write_jsonl, write_model, write_tokenizer
from tiny_neurons import write_neurons

from seatools.engine import machine
from seatools.engine.load import load_model
from seatools.engine.memory import Memory
from seatools.engine.planned_model import model_shapes
from seatools.engine.train_spec import parse_train
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.text.documents import load_documents
from seatools.text.packed import read_packed
from seatools.train.plan import PlanOptions, describe, plan_text
from seatools.train.planned_data import PlannedData, PlannedSource, packed_data, sampled_data

CPU = dict(device="cpu", dtype="fp32")


def data(rows: int = 40, **tokens: int) -> PlannedData:
    sources = tuple(PlannedSource(name, 10, count) for name, count in tokens.items())
    return PlannedData(sources=sources, rows=rows, row_length=64, context=20.0, target_share=1.0, estimated=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("plan") / "model"
    write_tokenizer(folder)
    write_model(folder)
    (folder / "new_rows.jsonl").write_text("".join(f'{{"id": {id_}}}\n' for id_ in range(200, 259)))
    model = load_model(folder, device="cpu", dtype=torch.float32)
    chosen = {
        "th": {"model.layers.0.mlp.up_proj": [1, 5], "model.layers.1.mlp.down_proj": [2, 3, 4]},
        "lo": {"model.layers.0.mlp.up_proj": [5, 7]},
    }
    write_neurons(model, folder.parent / "neurons.safetensors", chosen)
    return folder


@pytest.mark.parametrize(
    ("spec", "langs"),
    [
        ("all", ()), ("new-rows", ()), ("embeddings", ()), ("layers=1", ()), ("layers=0-1+embeddings", ()),
        ("neurons=FILE", ()), ("neurons=FILE", ("lo",)), ("new-rows+layers=0", ()), ("neurons=FILE+new-rows", ("th",)),
    ],
)  # fmt: skip
def test_trained_parameters_are_those_that_training_would_choose(folder, spec, langs):
    import torch

    from seatools.engine.trained_parts import choose_parts, num_trained

    spec = parse_train(spec.replace("FILE", str(folder.parent / "neurons.safetensors")))
    model = load_model(folder, device="cpu", dtype=torch.float32)
    parts = choose_parts(
        model, spec, model_path=folder, neuron_langs=langs, first_new_row=None, messages=Messages(quiet=True)
    )
    plan = describe(folder, PlanOptions(spec=spec, neuron_langs=langs, **CPU), data(th=1000))
    assert plan.trained_parameters == sum(num_trained(part) for _, part in parts)
    assert plan.parameters == sum(p.numel() for p in model.parameters())
    assert plan.memory.weights == 4 * plan.parameters


def test_first_new_row_reaches_to_the_tokenizers_end(folder):
    options = PlanOptions(spec=parse_train("new-rows"), first_new_row=250, **CPU)
    assert describe(folder, options, None, vocab_size=259).trained_parameters == 2 * 9 * 32


@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_model_has_the_size_that_its_config_says(tmp_path, tied):
    write_model(tmp_path / "m", tie_word_embeddings=tied)
    by_config = model_shapes(tmp_path / "m", from_config=True)
    assert by_config == model_shapes(tmp_path / "m")
    assert ("lm_head.weight" in by_config) is not tied


def test_steps_tokens_epochs_and_hours(folder):
    plan = describe(folder, PlanOptions(batch_size=8, epochs=2, rate=1000.0, **CPU), data(th=1500, en=500))
    assert (plan.steps, plan.tokens, plan.epochs) == (10, 4000, 2.0)
    assert plan.hours == pytest.approx(4000 / 1000 / 3600)
    two = describe(folder, PlanOptions(batch_size=8, epochs=2, rate=1000.0, ranks=2, **CPU), data(th=1500, en=500))
    assert two.hours == pytest.approx(plan.hours / 2)  # the rate is that of a device
    assert plan.flops == plan.flops_per_token * 4000
    assert {row["name"]: (row["share"], row["epochs"]) for row in plan.sources} == {"th": (0.75, 2), "en": (0.25, 2)}
    longer = describe(folder, PlanOptions(batch_size=8, max_steps=35, **CPU), data(th=1500, en=500))
    assert (longer.steps, longer.epochs, longer.hours) == (35, 7.0, None)


def test_without_data_only_the_steps_asked_for_are_known(folder):
    unknown = describe(folder, PlanOptions(**CPU), None)
    assert (unknown.steps, unknown.tokens, unknown.flops) == (None, None, None)
    assert "not known before the data is read" in plan_text(unknown)
    assert describe(folder, PlanOptions(max_steps=3, batch_size=2, seq_len=16, **CPU), None).tokens == 3 * 2 * 16


@pytest.mark.parametrize(("memory", "fits"), [(10**12, True), (10**6, False)])
def test_fits_or_not(folder, memory, fits):
    plan = describe(folder, PlanOptions(memory=memory, **CPU), data(th=1000))
    assert plan.fits is fits and plan.available_is == "as stated"
    assert ("DOES NOT FIT" in plan_text(plan)) is not fits
    assert json.loads(json.dumps(plan.as_json()))["fits"] is fits


def test_ranks_share_the_static_memory_of_full_training_only(folder):
    one, two = (describe(folder, PlanOptions(ranks=n, **CPU), data(th=1000)).memory for n in (1, 2))
    assert (two.weights, two.moments) == (one.weights // 2, one.moments // 2)
    neurons = parse_train(f"neurons={folder.parent / 'neurons.safetensors'}")
    one, two = (describe(folder, PlanOptions(ranks=n, spec=neurons, **CPU), data(th=1000)).memory for n in (1, 2))
    assert two.weights == one.weights


def test_packed_data_is_counted_exactly_and_repeats_are_the_mixs(sea, folder, tmp_path):
    small = write_jsonl(tmp_path / "small.jsonl", TEXTS)
    large = write_jsonl(tmp_path / "large.jsonl", TEXTS * 20)
    mixed = tmp_path / "p.safetensors"
    done = sea(
        "mix", f"th={small}:3", f"en={large}:1", "--max-epochs", 4, "--budget", 3000, "--pack", 64,
        "--tokenizer", folder, "-o", mixed,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    packed, planned = read_packed(mixed), packed_data([mixed])
    assert planned.rows == packed.num_rows and planned.tokens == packed.num_tokens and not planned.estimated
    lengths = packed.doc_lens.astype(int)
    assert planned.context == pytest.approx((lengths**2).sum() / lengths.sum())
    counts = json.loads(Path(f"{mixed}.manifest.json").read_text())["counts"]["sources"]
    plan = describe(folder, PlanOptions(epochs=2, batch_size=1, **CPU), planned)
    for row, mix in zip(plan.sources, counts, strict=True):
        assert (row["name"], row["tokens"]) == (mix["source"], mix["emitted_tokens"])
        assert row["epochs"] == pytest.approx(2 * mix["epochs"])
    assert plan.most_repeated == "th"


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_records_are_estimated_from_a_sample(folder, tmp_path, suffix):
    texts = [f"{'kaya ngata ' * (1 + i % 7)}{i}" for i in range(4000)]
    path = tmp_path / f"data{suffix}"
    if suffix == ".txt":
        path.write_text("\n".join(texts) + "\n")
    else:
        write_jsonl(path, [{"text": text} for text in texts])
    documents = load_documents(folder)
    exact = sum(len(doc.ids) for doc in documents.encode([{"text": text} for text in texts]))  # type: ignore[union-attr]
    planned = sampled_data({"th": [str(path)]}, documents, row_length=64, sample_bytes=20_000)
    assert planned is not None and planned.estimated
    assert planned.tokens == pytest.approx(exact, rel=0.05)
    assert planned.sources[0].documents == pytest.approx(len(texts), rel=0.05)
    assert planned.rows == pytest.approx(exact / 64, rel=0.1)
    assert "about" in plan_text(describe(folder, PlanOptions(**CPU), planned))


def test_compressed_records_are_not_guessed_at(folder, tmp_path):
    assert sampled_data({"th": [str(tmp_path / "a.jsonl.zst")]}, load_documents(folder), row_length=64) is None


def test_every_part_of_memory_is_in_the_table(folder):
    memory = Memory(*(10**9 * (number + 1) for number in range(8)))
    plan = describe(folder, PlanOptions(**CPU), data(th=1000))
    text = plan_text(SimpleNamespace(**{**vars(plan), "memory": memory}))  # type: ignore[arg-type]
    for name in vars(memory):
        assert name in text
    assert memory.total == 36 * 10**9


def test_what_cannot_be_planned_is_an_error(folder, tmp_path):
    with pytest.raises(SeaError, match="neither model.safetensors nor"):
        (tmp_path / "config.json").write_text("{}")
        model_shapes(tmp_path)
    with pytest.raises(SeaError, match="does not tell the size"):
        model_shapes(tmp_path, from_config=True)
    with pytest.raises(UsageError, match="--recompute"):
        describe(folder, PlanOptions(recompute="some", **CPU), None)


def test_the_machine_is_asked(monkeypatch, tmp_path):
    def smi(text: str) -> Any:
        return lambda *a, **k: SimpleNamespace(stdout=text)

    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine.subprocess, "run", smi("NVIDIA H200, 143771\nNVIDIA H200, 143771\n"))
    assert machine.this_machine() == machine.Machine("NVIDIA H200", 143771 << 20, True)
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   64 kB\n")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine.subprocess, "run", smi("No devices were found\n"))
    assert machine.this_machine() == machine.Machine("memory that is free", 64 << 10, False)
    assert machine.this_machine("cuda") == machine.Machine("cuda", None, True)
    assert machine.this_machine("cpu").memory == 64 << 10


def test_the_plan_needs_no_torch_and_little_time(folder):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from seatools.train.plan import PlanOptions, describe, plan_text\n"
        f"plan_text(describe(Path({str(folder)!r}), PlanOptions(device='cpu'), None))\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_seven_billion_parameters_are_planned_as_the_arithmetic_of_the_literature(tmp_path):
    """Qwen2-7B: 15.2 GB of bf16 weights, 106.6 GB of gradients, moments and masters (research, section 5, with
    gradients in bf16; ours are summed in fp32)."""
    config = dict(
        model_type="qwen2", hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, vocab_size=152064, tie_word_embeddings=False,
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    options = PlanOptions(from_config=True, device="cuda", dtype="bf16", seq_len=4096, batch_size=1, memory=141 * 10**9)
    plan = describe(tmp_path, options, None)
    assert plan.memory.weights / 1e9 == pytest.approx(15.2, rel=0.01)
    static = plan.memory.gradients + plan.memory.moments + plan.memory.masters
    assert static / 1e9 == pytest.approx(106.6 + 2 * 7.62, rel=0.01)
    assert plan.flops_per_token == pytest.approx(44.9e9, rel=0.01) and plan.fits is False
    assert math.isclose(plan.memory_total, plan.memory.total)
