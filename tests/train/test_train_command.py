"""`sea train` from the command line: what it writes and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import TEMPLATE, files_in, read_metrics, read_weights, write_jsonl, write_model, write_tokenizer

from seatools.text.packed import read_packed

Sea = Callable[..., Any]
SHORT = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 2, "--lr", "1e-3", "-q")


def trained_text(out: Path) -> list[str]:
    """The runs of trained tokens in OUT's packed rows, as text; EOS is written as `|`."""
    packed = read_packed(out / "packed.safetensors")
    texts = []
    for number in range(packed.num_rows):
        for ids, mask in packed.row(number):
            for run in "".join(chr(256 + int(i)) if m else "\0" for i, m in zip(ids, mask, strict=True)).split("\0"):
                if run:
                    texts.append("".join(PIECES[ord(c) - 256] for c in run))
    return texts


def _pieces() -> list[str]:
    from tokenizers import pre_tokenizers

    alphabet = [piece.replace("Ġ", " ") for piece in sorted(pre_tokenizers.ByteLevel.alphabet())]
    return ["<pad>", "<s>", "|", *alphabet]


PIECES = _pieces()


def test_a_run_leaves_model_tokenizer_metrics_checkpoints_and_manifest(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = sea("train", model_path, f"th={data}", "-o", out, *SHORT)
    assert (result.code, result.stdout, result.stderr) == (0, b"", "")
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "metrics.jsonl", "packed.safetensors"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-2"]
    metrics = read_metrics(out)
    assert [line["step"] for line in metrics] == [1, 2]
    assert all(line["loss"] > 0 and line["lr"] > 0 and line["grad_norm"] > 0 for line in metrics)
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    assert manifest["counts"]["steps"] == 2
    assert manifest["counts"]["tokens"] == read_packed(out / "packed.safetensors").num_tokens
    assert manifest["counts"]["trained_parameters"] == sum(w.numel() for w in read_weights(model_path).values())
    by_path = {row["path"]: row for row in manifest["inputs"]}
    assert by_path[str(data)]["source"] == "th" and by_path[str(data)]["bytes"] == data.stat().st_size
    assert len(by_path[str(data)]["sha256"]) == len(by_path[str(model_path)]["sha256"]) == 64
    assert manifest["options"]["seq_len"] == 32 and manifest["seed"] == 0


def test_the_exported_folder_is_the_last_checkpoint_in_transformers(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "out"
    assert sea("train", model_path, data, "-o", out, *SHORT).code == 0
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer("kaya ngata")["input_ids"] == AutoTokenizer.from_pretrained(model_path)("kaya ngata")["input_ids"]
    assert tokenizer.chat_template == TEMPLATE
    checkpoint = read_weights(out / "checkpoints" / "step-2")
    base = AutoModelForCausalLM.from_pretrained(model_path)
    ids = torch.tensor([tokenizer("kaya ngata lor")["input_ids"]])
    with torch.no_grad():
        found, before = model(input_ids=ids).logits, base(input_ids=ids).logits
        base.load_state_dict(checkpoint)
        assert torch.equal(base(input_ids=ids).logits, found)
    assert not torch.equal(before, found)


def test_the_micro_batch_changes_no_loss_of_a_run(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    for name, micro in (("whole", 0), ("cut", 1)):
        command = ("train", model_path, data, "-o", tmp_path / name, *SHORT, "--max-steps", 4, "--batch-size", 3)
        assert sea(*command, "--micro-batch", micro).code == 0
    whole, cut = read_metrics(tmp_path / "whole"), read_metrics(tmp_path / "cut")
    assert [line["loss"] for line in cut] == pytest.approx([line["loss"] for line in whole], rel=1e-6)


def test_epochs_read_every_row_once_each(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    command = ("train", model_path, data, "-o", tmp_path / "out", "--seq-len", 32, "--batch-size", 1, "-q")
    assert sea(*command, "--epochs", 2).code == 0
    packed = read_packed(tmp_path / "out" / "packed.safetensors")
    metrics = read_metrics(tmp_path / "out")
    assert len(metrics) == 2 * packed.num_rows
    for epoch in (metrics[: packed.num_rows], metrics[packed.num_rows :]):
        assert sum(line["tokens"] for line in epoch) == packed.num_tokens
        assert sum(line["targets"] for line in epoch) == packed.num_targets
    assert metrics[-1]["epoch"] == 2.0


def test_text_is_trained_whole_and_chats_only_where_the_assistant_speaks(
    sea: Sea, model_path: Path, tmp_path: Path
) -> None:
    turns = [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "Bye"),
        ("assistant", "So long."),
    ]
    records = [
        {"text": "plain"},
        {"prompt": "2+2=", "completion": "4"},
        {"messages": [{"role": role, "content": content} for role, content in turns]},
        {"prompt": [{"role": "user", "content": "Who?"}], "completion": [{"role": "assistant", "content": "Me"}]},
    ]
    data = write_jsonl(tmp_path / "hybrid.jsonl", records)
    assert sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--seq-len", 100).code == 0
    assert sorted(trained_text(tmp_path / "out")) == sorted(["plain|", "4|", "Hello!|", "So long.|", "Me|"])


def test_a_chat_template_of_the_users_is_used_and_kept(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}!{% endfor %}"
                        "{% if add_generation_prompt %}[assistant]{% endif %}")  # fmt: skip
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    data = write_jsonl(tmp_path / "chat.jsonl", [{"messages": chat}])
    out = tmp_path / "out"
    assert sea("train", model_path, data, "-o", out, *SHORT, "--chat-template", template).code == 0
    assert trained_text(out) == ["Hello!|"]
    assert AutoTokenizer.from_pretrained(out).apply_chat_template(chat, tokenize=False) == "[user]Hi![assistant]Hello!"


def test_chats_without_a_template_are_refused_with_the_line(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "plain", template=None)
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    data = write_jsonl(tmp_path / "chat.jsonl", [{"text": "a b c"}, chat])
    result = sea("train", model_path, data, "-o", tmp_path / "o", *SHORT, "--tokenizer", tmp_path / "plain")
    assert result.code == 1
    assert "chat.jsonl:2" in result.stderr and "--chat-template" in result.stderr


def test_a_packed_file_gives_the_run_that_its_records_give(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    assert sea("train", model_path, data, "-o", tmp_path / "a", *SHORT, "--order", "file").code == 0
    packed = tmp_path / "a" / "packed.safetensors"
    other = sea("train", model_path, packed, "-o", tmp_path / "b", *SHORT, "--seq-len", 100)
    assert other.code == 2 and "has rows of 32 tokens, not 100" in other.stderr and not (tmp_path / "b").exists()
    assert sea("train", model_path, packed, "-o", tmp_path / "b", *SHORT).code == 0
    assert read_metrics(tmp_path / "a") == read_metrics(tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert not (tmp_path / "b" / "packed.safetensors").exists()
    assert json.loads((tmp_path / "b.manifest.json").read_bytes())["options"]["seq_len"] == 32


def test_a_packed_file_of_another_tokenizer_is_refused_with_both_digests(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    from seatools.text.tokenizer import load_tokenizer

    assert sea("train", model_path, data, "-o", tmp_path / "a", *SHORT).code == 0
    write_tokenizer(tmp_path / "other", names=("eos",))
    packed = tmp_path / "a" / "packed.safetensors"
    result = sea("train", model_path, packed, "-o", tmp_path / "b", *SHORT, "--tokenizer", tmp_path / "other")
    assert result.code == 1
    for folder in (model_path, tmp_path / "other"):
        assert load_tokenizer(folder).digest() in result.stderr
    assert not (tmp_path / "b").exists()


def test_a_packed_file_stands_alone_and_takes_no_limit(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    packed = tmp_path / "x.safetensors"
    packed.write_bytes(b"")
    joined = sea("train", model_path, packed, data, "-o", tmp_path / "o", *SHORT)
    assert joined.code == 2 and "cannot be joined" in joined.stderr
    limited = sea("train", model_path, packed, "-o", tmp_path / "o", *SHORT, "--limit", 3)
    assert limited.code == 2 and "--limit" in limited.stderr


@pytest.mark.parametrize(
    "wrong", [("--device", "cuda:99"), ("--device", "gpu"), ("--seq-len", 4096), ("--neurons", "no-such-file")]
)
def test_what_no_data_can_mend_is_refused_before_it_is_read(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, wrong: tuple[str, object]
) -> None:
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, *wrong)
    assert result.code in (1, 2) and not (tmp_path / "out").exists(), result.stderr


def test_data_without_a_target_is_refused(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    from seatools.text.packed import write_packed
    from seatools.text.tokenizer import load_tokenizer

    digest = load_tokenizer(model_path).digest()
    empty = tmp_path / "p.safetensors"
    write_packed(empty, [], [], [], row_length=32, tokenizer_digest=digest, sources=["a"])
    result = sea("train", model_path, empty, "-o", tmp_path / "out", *SHORT)
    assert result.code == 1 and "nothing to train" in result.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_data_is_an_error_that_leaves_nothing(sea: Sea, model_path: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.jsonl").write_bytes(content)
    result = sea("train", model_path, tmp_path / "empty.jsonl", "-o", tmp_path / "out", *SHORT)
    assert result.code == 1 and "no record to train on" in result.stderr
    assert sea("train", model_path, "-", "-o", tmp_path / "out", *SHORT, stdin=content).code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty.jsonl"]


def test_bad_lines_stop_or_are_dropped_and_counted_or_kept(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    lines = [b'{"text": "good one"}', b'{"text": ', b'{"body": "x"}', b'{"text": "good two"}']
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    command = ("train", model_path, tmp_path / "d.jsonl", *SHORT)
    stopped = sea(*command, "-o", tmp_path / "a")
    assert stopped.code == 1 and "d.jsonl:2" in stopped.stderr and not (tmp_path / "a").exists()
    skipped = sea(*command, "-o", tmp_path / "b", "--on-error", "skip")
    assert skipped.code == 0 and "2 rejected" in skipped.stderr
    assert json.loads((tmp_path / "b.manifest.json").read_bytes())["rejects"] == {"broken json": 1, "no text": 1}
    assert sorted(trained_text(tmp_path / "b")) == ["good one|", "good two|"]
    assert sea(*command, "-o", tmp_path / "c", "--on-error", "quarantine").code == 0
    kept = [json.loads(line) for line in (tmp_path / "c.quarantine.jsonl").read_bytes().splitlines()]
    assert [row["line"] for row in kept] == [2, 3]


def test_a_quarantine_file_that_is_there_is_not_overwritten_without_force(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "q.jsonl").write_text("precious")
    command = ("train", model_path, data, "-o", tmp_path / "o", *SHORT, "--on-error", "quarantine")
    assert sea(*command, "--quarantine", tmp_path / "q.jsonl").code == 2
    assert (tmp_path / "q.jsonl").read_text() == "precious"


def test_out_that_holds_something_needs_force_and_is_replaced_whole(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert sea("train", model_path, data, "-o", out, *SHORT).code == 0
    (out / "stale.txt").write_text("x")
    before = files_in(out)
    refused = sea("train", model_path, data, "-o", out, *SHORT)
    assert refused.code == 2 and "--resume continues it, --force starts it afresh" in refused.stderr
    assert files_in(out) == before
    assert sea("train", model_path, data, "-o", out, *SHORT, "--force", "--seed", 1).code == 0
    assert not (out / "stale.txt").exists()
    assert (out / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert json.loads((tmp_path / "out.manifest.json").read_bytes())["seed"] == 1


@pytest.mark.parametrize(
    "mistake",
    [
        ("--schedule", "step"),
        ("--lr", "7"),
        ("--dtype", "fp16"),
        ("--device", "tpu"),
        ("--seq-len", "129"),
        ("--neurons", "no-such-file.safetensors"),
        ("--tokenizer", "no-such-folder"),
        ("--chat-template", "no-such.jinja"),
        ("no-such-data.jsonl",),
    ],
)
def test_a_mistake_with_force_costs_nothing_that_was_there(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, mistake: tuple[str, ...]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("precious")
    (tmp_path / "out.manifest.json").write_text("precious")
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--force", *mistake)
    assert result.code in (1, 2) and result.stderr.startswith("error: ")
    assert "unexpected" not in result.stderr and len(result.stderr.splitlines()) <= 3
    assert files_in(tmp_path / "out") == {"model.safetensors": b"precious"}
    assert (tmp_path / "out.manifest.json").read_text() == "precious"


def test_out_may_not_be_the_model_or_hold_an_input(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "work" / "model"
    model.parent.mkdir()
    write_tokenizer(model)
    write_model(model)
    before = files_in(tmp_path)
    for out in (model, model.parent):
        result = sea("train", model, data, "-o", out, *SHORT, "--force")
        assert result.code == 2 and ("both input and output" in result.stderr or "lies inside" in result.stderr)
    inside = sea("train", model_path, data, "-o", tmp_path, *SHORT, "--force")
    assert inside.code == 2 and "lies inside" in inside.stderr
    assert files_in(tmp_path) == before


def test_usage_mistakes_are_named(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, words in (
        ((model_path, "-o", out), "no DATA"),
        ((model_path, data, "-o", out, "--resume", "--force"), "contradict"),
        ((model_path, data, data, "-o", out), "named twice"),
        ((model_path, f"th={data}", f"lo={data}", "-o", out), "named twice"),
        ((model_path, data, "-o", out, "--dtype", "fp16"), "fp16 is not for training"),
        ((model_path, data, "-o", out, "--neuron-langs", "th"), "--neurons FILE"),
        ((model_path, data, "-o", out, "--epochs", "inf"), "--epochs"),
        ((model_path, data, "-o", out, "--seq-len", "4"), "too short"),
    ):
        result = sea("train", *arguments)
        assert result.code == 2 and words in result.stderr, result.stderr
        assert not out.exists()


def test_rows_beyond_the_models_positions_are_refused(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--seq-len", 129)
    assert result.code == 2
    assert "128 positions" in result.stderr and "--seq-len 128 or less" in result.stderr


def test_a_tokenizer_without_eos_warns_once(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "bare", names=())
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--tokenizer", tmp_path / "bare")
    assert result.code == 0
    assert result.stderr.count("names no EOS token") == 1
    assert not any("|" in text for text in trained_text(tmp_path / "out"))


def test_dry_run_writes_nothing_and_imports_no_torch(model_path: Path, data: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from seatools.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'\n"
        "sys.exit(code)"
    )
    before = files_in(tmp_path)
    command = ["train", model_path, data, "-o", tmp_path / "out", "--max-steps", "3", "--dry-run"]
    result = subprocess.run([sys.executable, "-c", script, *map(str, command)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "32.1k" in result.stderr and "steps: about 3" in result.stderr
    assert files_in(tmp_path) == before and not (tmp_path / "out").exists()


def test_dry_run_counts_the_rows_and_steps_of_packed_data(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    assert sea("train", model_path, data, "-o", tmp_path / "a", *SHORT).code == 0
    packed = tmp_path / "a" / "packed.safetensors"
    result = sea("train", model_path, packed, "-o", tmp_path / "b", "--batch-size", 2, "--epochs", 3, "--dry-run")
    rows = read_packed(packed).num_rows
    assert result.code == 0 and f"{rows} rows of 32, {3 * rows // 2} steps" in result.stderr


def test_bf16_moves_weights_by_less_than_half_a_bf16_step(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    """Each update of 1e-5 is lost when it is rounded into a bf16 weight of 0.01; ten of them are not, in a master."""
    command = ("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--max-steps", 10, "--lr", "1e-5")
    result = sea(*command, "--dtype", "bf16", "--schedule", "constant", "--warmup", 0, "--weight-decay", 0)
    assert result.code == 0
    before, after = read_weights(model_path), read_weights(tmp_path / "out")
    name = "model.layers.0.mlp.down_proj.weight"
    old, new = before[name].to(torch.bfloat16), after[name]
    assert new.dtype == torch.bfloat16
    band = (old.abs() >= 2**-7) & (old.abs() < 2**-6)
    assert torch.equal((old[band].float() + 1.5e-5).to(torch.bfloat16), old[band])  # lost, one at a time
    assert (old[band] != new[band]).float().mean() > 0.3


def test_a_loss_that_is_not_finite_stops_before_the_update_and_keeps_checkpoints(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import seatools.engine.shard as shard

    real = shard.batch_loss
    calls = []

    def poisoned(model: Any, batch: Any, **named: Any) -> Any:
        calls.append(1)
        loss = real(model, batch, **named)
        factor = float("nan") if len(calls) == 3 else 1.0
        return dataclasses.replace(loss, total=loss.total * factor, nll=loss.nll * factor)

    monkeypatch.setattr(shard, "batch_loss", poisoned)
    out = tmp_path / "out"
    result = sea("train", model_path, data, "-o", out, *SHORT, "--max-steps", 4, "--save-every", 1)
    assert result.code == 1 and "step 3: loss nan" in result.stderr and "stopped before the update" in result.stderr
    documents = [json.loads(line) for line in (out / "step-3.documents.jsonl").read_text("utf-8").splitlines()]
    assert "step-3.documents.jsonl" in result.stderr
    assert documents and all(line["source"] == "data" and line["text"] for line in documents)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-1", "step-2"]
    assert not (out / "config.json").exists()


def test_steps_that_round_to_nothing_are_an_error(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    command = ("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--lr", "1e-12", "--dtype", "bf16")
    result = sea(*command)
    assert result.code == 1 and "2 steps changed no weight" in result.stderr


@pytest.mark.parametrize("moment", ["steps", "export"])
def test_an_interrupt_leaves_130_and_no_half_model(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    target = {"steps": "seatools.engine.shard.batch_loss", "export": "seatools.engine.export.save_model"}[moment]
    monkeypatch.setattr(target, interrupt)
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT)
    assert result.code == 130
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left - {"checkpoints"} == {"packed.safetensors", "metrics.jsonl"}
    assert not (tmp_path / "out.manifest.json").exists()


def test_from_config_needs_no_weights_and_repeats_by_seed(sea: Sea, tmp_path: Path, data: Path) -> None:
    bare = tmp_path / "bare"
    write_tokenizer(bare)
    write_model(bare)
    (bare / "model.safetensors").unlink()
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert sea("train", bare, data, "-o", tmp_path / name, *SHORT, "--from-config", "--seed", seed).code == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_activation_checkpointing_gives_the_same_run(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    for kind in ("none", "selective", "full"):
        command = ("train", model_path, data, "-o", tmp_path / kind, *SHORT, "--activation-checkpointing", kind)
        assert sea(*command).code == 0
    none, *others = ((tmp_path / kind / "model.safetensors").read_bytes() for kind in ("none", "selective", "full"))
    assert others == [none, none]


def test_the_number_of_workers_changes_no_byte(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        command = ("train", model_path, data, "-o", tmp_path / str(workers), *SHORT, "--workers", workers)
        assert sea(*command).code == 0
    for name in ("packed.safetensors", "model.safetensors"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_limit_counts_per_source(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": f"number {n}"} for n in range(5)])
    out = tmp_path / "out"
    assert sea("train", model_path, f"th={data}", f"lo={other}", "-o", out, *SHORT, "--limit", 2).code == 0
    packed = read_packed(out / "packed.safetensors")
    assert packed.sources == ["th", "lo"]
    assert sorted(packed.source_id.tolist()) == [0, 0, 1, 1]


def test_a_real_model_learns(sea: Sea, shared: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. " * 20
    data = write_jsonl(tmp_path / "d.jsonl", [{"text": story}] * 3)
    out = tmp_path / "out"
    command = ("train", shared / "models" / "stories260K", data, "-o", out, "--seq-len", 128, "--batch-size", 2)
    result = sea(*command, "--max-steps", 3, "--lr", "1e-3", "--schedule", "constant", "-q")
    assert result.code == 0, result.stderr
    losses = [line["loss"] for line in read_metrics(out)]
    assert losses[2] < losses[0] < 4
    assert AutoModelForCausalLM.from_pretrained(out).config.model_type == "llama"
