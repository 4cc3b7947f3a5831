"""`sea eval` as it is typed: records on stdout, passes without neurons, which data goes where, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import write_jsonl
from tiny_neurons import write_neurons

QUESTION = {"question": "2 + 2?", "choices": ["three", "four"], "answer": "B"}


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    thai, english = tmp_path / "th.txt", tmp_path / "en.jsonl"
    thai.write_text("แมวอยู่บนเสื่อ\nฝนตก\n", encoding="utf-8")
    return thai, write_jsonl(english, [{"text": "the cat", "lang": "en"}, {"text": "on the mat", "lang": "en"}])


def scores(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_perplexity_prints_bits_per_byte_alone_a_line_a_language(sea, model_folder, texts):
    rows = scores(sea("eval", model_folder, "perplexity", "--data", f"th={texts[0]}", "--data", texts[1], "--json"))
    assert [(row["task"], row["lang"], row["metric"], row["n"]) for row in rows] == [
        ("perplexity", "th", "bits_per_byte", 2),
        ("perplexity", "en", "bits_per_byte", 2),
    ]
    assert [list(row) for row in rows] == [["task", "lang", "metric", "value", "stderr", "n", "model", "config"]] * 2
    assert rows[0]["model"] == str(model_folder)
    assert rows[0]["config"]["dtype"] == "float32"
    assert len(rows[0]["config"]["model_digest"]) == len(rows[0]["config"]["tokenizer_digest"]) == 16


def test_without_a_label_the_languages_are_those_of_the_records(sea, model_folder, tmp_path):
    mixed = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "lang": "en"}, {"text": "b"}])
    assert [row["lang"] for row in scores(sea("eval", model_folder, "perplexity", "--data", mixed))] == ["en", "und"]


def test_stdin_serves_as_data(sea, model_folder, texts):
    stdin = texts[1].read_bytes()
    piped = scores(sea("eval", model_folder, "perplexity", "--data", "en=-", stdin=stdin))
    assert piped == scores(sea("eval", model_folder, "perplexity", "--data", f"en={texts[1]}"))


def test_of_several_tasks_each_takes_the_records_that_fit(sea, model_folder, texts, tmp_path):
    questions = write_jsonl(tmp_path / "q.jsonl", [QUESTION, QUESTION | {"question": "1 + 3?"}])
    data = ["--data", f"th={texts[0]}", "--data", f"en={questions}"]
    rows = scores(sea("eval", model_folder, "choice", "perplexity", *data))
    assert [(row["task"], row["lang"], row["metric"]) for row in rows] == [
        ("choice", "en", "acc"), ("choice", "en", "acc_norm"), ("perplexity", "th", "bits_per_byte"),
    ]  # fmt: skip


def test_a_dry_run_says_what_would_be_done_loads_no_model_and_writes_nothing(
    sea, model_folder, texts, tmp_path, monkeypatch
):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    out = tmp_path / "scores.jsonl"
    result = sea("eval", model_folder, "perplexity", "--data", f"th={texts[0]}", "-o", out, "--dry-run")
    assert (result.code, result.stdout) == (0, b"")
    assert "perplexity: 2 readings of the model" in result.stderr
    assert not out.exists()


def test_deactivating_neurons_equals_zeroing_their_weights(sea, model_folder, texts, tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder)
    down, query = "model.layers.1.mlp.down_proj", "model.layers.0.self_attn.q_proj"
    chosen = {down: [0, 5, 7], query: [3, 4]}
    write_neurons(model, tmp_path / "n.safetensors", {"th": chosen})
    with torch.no_grad():
        model.get_submodule(down).weight[:, chosen[down]] = 0
        model.get_submodule(query).weight[chosen[query]] = 0
    zeroed = tmp_path / "zeroed"
    shutil.copytree(model_folder, zeroed)
    model.save_pretrained(zeroed)

    off = f"{tmp_path / 'n.safetensors'}:th"
    data = ["--data", f"th={texts[0]}"]
    plain, without = scores(sea("eval", model_folder, "perplexity", *data, "--deactivate", off))
    (expected,) = scores(sea("eval", zeroed, "perplexity", *data))
    assert "deactivate" not in plain["config"] and without["config"]["deactivate"] == off
    assert without["value"] == pytest.approx(expected["value"], rel=1e-6)
    assert abs(without["value"] - plain["value"]) > 1e-3


def test_neurons_of_another_model_are_refused(sea, model_folder, texts, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    other = LlamaForCausalLM(LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                         num_attention_heads=1))  # fmt: skip
    write_neurons(other, tmp_path / "n.safetensors", {"th": {}})
    data = ["--data", f"th={texts[0]}", "--deactivate"]
    result = sea("eval", model_folder, "perplexity", *data, f"{tmp_path / 'n.safetensors'}:th")
    assert (result.code, result.stdout) == (1, b"")
    assert "n.safetensors:th: neurons of another architecture" in result.stderr
    result = sea("eval", model_folder, "perplexity", *data, f"{tmp_path / 'n.safetensors'}:lo")
    assert result.code == 2 and 'n.safetensors: no neurons of language "lo"' in result.stderr


def test_output_file_and_manifest(sea, model_folder, texts, tmp_path):
    out = tmp_path / "scores.jsonl"
    result = sea("eval", model_folder, "perplexity", "--data", f"th={texts[0]}", "-o", out, "--quiet")
    assert (result.code, result.stdout) == (0, b"")
    manifest = json.loads((tmp_path / "scores.jsonl.manifest.json").read_text())
    assert [row["path"] for row in manifest["inputs"]] == [str(model_folder), str(texts[0])]
    assert json.loads(out.read_text())["metric"] == "bits_per_byte"


def test_the_models_weights_are_no_output(sea, model_folder, texts):
    weights = model_folder / "model.safetensors"
    result = sea("eval", model_folder, "perplexity", "--data", f"th={texts[0]}", "-o", weights, "--force")
    assert result.code == 2 and "both input and output" in result.stderr


def test_limit_is_per_source(sea, model_folder, texts):
    data = ["--data", f"th={texts[0]}", "--data", f"en={texts[1]}", "--limit", "1"]
    assert [row["n"] for row in scores(sea("eval", model_folder, "perplexity", *data))] == [1, 1]


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["perplexty", "--data", "TH"], 2, 'no task "perplexty"\n  fix: did you mean perplexity?'),
        (["perplexity"], 2, "no data to score\n  fix: --data LANG=FILE"),
        (["perplexity", "perplexity", "--data", "TH"], 2, "named twice"),
        (["perplexity", "--data", "TH", "--data", "en=TH"], 2, "is named twice"),
        (["perplexity", "--data", "th=nowhere.txt"], 1, "nowhere.txt: no such file"),
        (["perplexity", "xcopa", "--data", "TH"], 2, "no data for the task xcopa\n  fix: --data LANG=FILE of records"),
        (["choice", "xcopa", "--data", "TH"], 1, "none of the tasks choice, xcopa takes these records (keys: text)"),
        (["xcopa", "--data", "th=TH"], 1, 'th.txt:1: field "premise" is missing'),
        (["choice", "--data", "TH", "--format", "squad"], 2, "unknown --format 'squad'"),
        (["perplexity", "--data", "TH", "--format", "xcopa"], 2, "--format is for the task choice"),
        (["choice", "--data", "TH", "--shots", "2"], 2, "--shots and --shots-data go together"),
        (["perplexity", "--data", "TH", "--shots", "2", "--shots-data", "EN"], 2, "no shots in the task perplexity"),
        (["perplexity", "--data", "TH", "--deactivate", "n.safetensors"], 2, "is not FILE:LANG"),
        (["perplexity", "--data", "TH", "--seq-len", "1000"], 2, "more than the model's 160 positions"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(sea, model_folder, texts, arguments, code, words):
    named = [str(a).replace("TH", str(texts[0])).replace("EN", str(texts[1])) for a in arguments]
    result = sea("eval", model_folder, *named)
    assert (result.code, result.stdout) == (code, b"")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_line_may_be_skipped_and_is_counted(sea, model_folder, tmp_path):
    data = tmp_path / "a.jsonl"
    data.write_bytes(b'{"text":"good"}\nnot json\n{"text":""}\n{"text":"fine"}\n')
    assert sea("eval", model_folder, "perplexity", "--data", f"en={data}").code == 1
    result = sea("eval", model_folder, "perplexity", "--data", f"en={data}", "--on-error", "skip")
    assert scores(result)[0]["n"] == 2
    assert "2 rejected" in result.stderr


def test_the_model_is_not_loaded_before_the_data_is_found_good(sea, model_folder, monkeypatch, tmp_path):
    def fail(*args: Any, **more: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("seatools.engine.load.load_model", fail)
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"text": 3}])
    assert "bad.jsonl:1" in sea("eval", model_folder, "perplexity", "--data", f"en={bad}").stderr
    good = write_jsonl(tmp_path / "good.jsonl", [{"text": "x"}])
    assert "the model was loaded" in sea("eval", model_folder, "perplexity", "--data", f"en={good}").stderr


def test_a_table_on_a_terminal(capsys, monkeypatch):
    from seatools.eval.table import print_table

    row = {"task": "perplexity", "lang": "th", "metric": "bits_per_byte", "value": 1.23456, "stderr": None, "n": 1000,
           "model": "M", "config": {}}  # fmt: skip
    print_table([row, row | {"config": {"deactivate": "n:th"}, "stderr": 0.01}])
    shown = capsys.readouterr().out
    assert "1.2346" in shown and "1,000" in shown and "n:th" in shown and "0.0100" in shown


def test_help_imports_nothing_heavy(sea):
    import subprocess
    import sys

    code = (
        "import sys; from seatools.cli import main; main(['eval', '--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy', 'sacrebleu')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


STORY = (
    "Ben had a red kite. He ran up the hill with his sister Mia, but there was no wind. They were sad. Then a bird "
    "came and sat on the kite. Mia laughed and gave it some bread. The wind began to blow, and the kite went up high."
)


def test_a_story_model_knows_stories_and_no_thai(sea, shared, tmp_path):
    flores = shared / "data" / "flores200" / "dev"
    story = tmp_path / "story.txt"
    story.write_text(STORY + "\n")
    data = [
        "--data",
        f"story={story}",
        "--data",
        f"en={flores / 'eng_Latn.txt'}",
        "--data",
        f"th={flores / 'tha_Thai.txt'}",
    ]
    rows = scores(sea("eval", shared / "models" / "stories260K", "perplexity", *data, "--limit", "20"))
    value = {row["lang"]: row["value"] for row in rows}
    assert 0.2 < value["story"] < 2 < value["en"] < value["th"]


def test_xcopa_in_thai(sea, shared):
    data = ["--data", f"th={shared / 'data' / 'xcopa' / 'th.val.jsonl'}", "--limit", "20"]
    acc, acc_norm = scores(sea("eval", shared / "models" / "stories260K", "xcopa", *data))
    assert (acc["metric"], acc["n"], acc_norm["metric"]) == ("acc", 20, "acc_norm")
    assert 0.05 < acc["value"] < 0.95 and acc["stderr"] > 0.04


@pytest.fixture
def long_model(shared: Path, tmp_path: Path) -> Path:
    """stories260K that takes 4,096 tokens (RoPE goes on); Thai passages in bytes need 2,000."""
    folder = tmp_path / "long"
    shutil.copytree(shared / "models" / "stories260K", folder, copy_function=shutil.copyfile)
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_belebele_in_thai(sea, shared, long_model):
    data = ["--data", f"th={shared / 'data' / 'belebele' / 'tha_Thai.jsonl'}", "--limit", "2"]
    acc, _ = scores(sea("eval", long_model, "belebele", *data))
    assert (acc["task"], acc["n"], acc["config"]["format"]) == ("belebele", 2, "belebele")
    short = sea("eval", shared / "models" / "stories260K", "belebele", *data)
    assert short.code == 1 and "tha_Thai.jsonl:1: the question has" in short.stderr


def test_shots_come_from_their_own_file(sea, shared, long_model, tmp_path):
    folder = shared / "data" / "global_mmlu_lite"
    data = ["--data", f"id={folder / 'id.test.jsonl'}", "--limit", "2", "--shots", "2"]
    acc, _ = scores(sea("eval", long_model, "mmlu", *data, "--shots-data", f"id={folder / 'id.dev.jsonl'}"))
    assert acc["config"]["shots"] == 2


def test_a_patch_scores_as_the_patched_folder_does(sea, model_folder, texts, tmp_path):
    import numpy as np

    from seatools.engine.patch import TrainedSlice, save_patch

    name = "model.layers.1.mlp.down_proj.weight"
    values = np.linspace(-1, 1, 32, dtype=np.float32).reshape(32, 1)
    piece = TrainedSlice(names=(name,), shape=(32, 48), dim=1, index=np.array([5]), dtype="F32", values=values)
    patch = tmp_path / "p.safetensors"
    save_patch(patch, model_folder, [piece], base_digest="b", tokenizer_digest="", trained="x", languages=["th"])
    assert sea("train", "apply-patch", model_folder, patch, "-o", tmp_path / "patched").code == 0
    data = ["perplexity", "--data", f"th={texts[0]}"]
    plain, patched = scores(sea("eval", model_folder, *data, "--apply-patch", patch))
    (expected,) = scores(sea("eval", tmp_path / "patched", *data))
    assert patched["value"] == pytest.approx(expected["value"], rel=1e-9) != pytest.approx(plain["value"], rel=1e-4)
    assert patched["config"]["apply_patch"] == str(patch) and "apply_patch" not in plain["config"]


def test_the_harness_layout_holds_the_scores(sea, model_folder, tmp_path):
    questions = write_jsonl(tmp_path / "q.jsonl", [QUESTION, QUESTION | {"question": "1 + 3?"}])
    folder = tmp_path / "harness"
    row = scores(sea("eval", model_folder, "choice", "--data", f"en={questions}", "--harness", folder))[0]
    (file,) = folder.rglob("results_*.json")
    assert json.loads(file.read_text())["results"]["choice_en"]["acc,none"] == row["value"]


def test_a_json_output_is_one_array(sea, model_folder, texts, tmp_path):
    assert sea("eval", model_folder, "perplexity", "--data", texts[1], "-o", tmp_path / "s.json").code == 0
    assert [row["lang"] for row in json.loads((tmp_path / "s.json").read_text())] == ["en"]


def test_a_task_of_ones_own_is_a_file(sea, model_folder, tmp_path):
    text = sea("eval", "tasks", "choice").stdout.decode()
    own = tmp_path / "riddles.toml"
    own.write_text(text.replace('name = "choice"', 'name = "riddles"').replace("Question:", "Riddle:"))
    data = write_jsonl(tmp_path / "q.jsonl", [QUESTION])
    result = sea("eval", model_folder, own, "--data", f"en={data}", "-v")
    assert scores(result)[0]["task"] == "riddles" and "Riddle: 2 + 2?" in result.stderr
    own.write_text(text.replace("answer_as", "answer_is"))
    assert 'has the key "answer_is", which is none' in sea("eval", model_folder, own, "--data", f"en={data}").stderr


def test_the_tasks_are_listed(sea):
    rows = [json.loads(line) for line in sea("eval", "tasks").stdout.splitlines()]
    named = {row["name"]: row for row in rows}
    assert {"perplexity", "m3exam", "mgsm", "flores", "seabench", "multijail"} <= named.keys()
    assert named["mgsm"]["shots"] == 8 and "text" in named["belebele"]["variants"]


def test_worked_examples_come_before_the_problem_and_digits_are_read(sea, long_model, shared):
    mgsm = shared / "data" / "mgsm"
    data = ["--data", f"th={mgsm / 'th.jsonl'}", "--shots-data", mgsm / "exemplars.jsonl", "--shots", "1"]
    result = sea("eval", long_model, "mgsm", *data, "--limit", "2", "--max-new-tokens", "4", "-v")
    rows = scores(result)
    assert [(row["metric"], row["n"]) for row in rows] == [("exact_match_flexible", 2), ("exact_match_strict", 2)]
    assert rows[0]["config"]["shots"] == 1 and len(rows[0]["config"]["shots_digest"]) == 16
    assert result.stderr.count("คำตอบทีละขั้นตอน:") == 2  # of the worked example, and of the problem


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["perplexity", "--data", "TH", "--engine", "magic"], "unknown --engine 'magic'"),
        (["perplexity", "--data", "TH", "--reference", "en"], "--reference en, but there is no text in it"),
        (["perplexity", "--data", "TH", "--data", "EN", "--reference", "th", "--limit", "1"], ""),
        (["choice", "--data", "TH", "--reference", "th"], "--reference is for the tasks perplexity and tokenizer"),
        (["perplexity", "--data", "TH", "--context-bytes", "64", "--stride", "8"], "drop one"),
        (["perplexity", "--data", "TH", "--pair", "th-en"], "--pair is for translations"),
        (["perplexity", "--data", "TH", "--hf", "th"], "exclude each other"),
        (["perplexity", "--data", "TH", "--batch-tokens", "0"], "it must be at least 1"),
        (["perplexity", "--data", "TH", "--nproc", "2"], "several processes need a file for their samples"),
    ],
)
def test_settings_that_cannot_be_are_refused(sea, model_folder, texts, arguments, words):
    named = [str(a).replace("TH", f"th={texts[0]}").replace("EN", f"en={texts[1]}") for a in arguments]
    result = sea("eval", model_folder, *named)
    assert (result.code == 2 and words in result.stderr) if words else result.code == 0
    assert "Traceback" not in result.stderr
