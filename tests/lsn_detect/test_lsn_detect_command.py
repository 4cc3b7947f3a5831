"""`sea lsn-detect` from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from two_languages import ENGLISH, THAI, rows_of, save_model

from seatools.engine.neuron_parts import selections
from seatools.engine.neurons import load_neurons, union


def test_lape_writes_the_same_neurons_for_gate_up_and_down(sea, model, texts, tmp_path):
    out = tmp_path / "neurons.safetensors"
    th, en = texts
    rows = rows_of(sea("lsn-detect", model, "--lang", th, "--lang", en, "--share", 0.2, "--percentile", 0.8, "-o", out))
    sets, metadata = load_neurons(out)
    found: set[tuple[int, int]] = set()
    for lang, weights in sets.items():
        own = {
            (layer, int(i))
            for layer in (0, 1)
            if f"model.layers.{layer}.mlp.down_proj" in weights
            for i in weights[f"model.layers.{layer}.mlp.down_proj"].indices
        }
        for name, neurons in weights.items():
            np.testing.assert_array_equal(neurons.indices, weights[name.rpartition(".")[0] + ".down_proj"].indices)
            assert ((neurons.scores > 0) & (neurons.scores <= 1)).all()
        assert rows[lang]["num_neurons"] == len(own) == sum(rows[lang]["per_layer"])
        assert rows[lang]["ffn_share"] == len(own) / 40
        found |= own
    assert len(found) == round(0.2 * 2 * 20)
    assert rows["th"]["docs"] == 64
    # Cut at the 64 positions of the model; what is left of a document with less than 8 tokens is left out.
    lengths = [1 + len(text.encode()) for text in THAI]
    assert rows["th"]["tokens"] == sum(n - n % 64 * (n > 64 and n % 64 < 8) for n in lengths)
    assert metadata["method"] == "lape"
    assert json.loads(metadata["thresholds"])["percentile"] == 0.8
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["counts"]["en"]["neurons"] == rows["en"]["num_neurons"]


def test_plnd_finds_rows_and_columns_that_train_can_take(sea, model, texts, tmp_path):
    from seatools.engine.load import load_model

    out = tmp_path / "neurons.safetensors"
    th, en = texts
    options = ("--method", "plnd", "--top-k", 0.4, "--min-docs", 0.7, "--parts", "ffn,q,k,v")
    rows = rows_of(sea("lsn-detect", model, "--lang", th, "--lang", en, *options, "-o", out))
    sets, metadata = load_neurons(out)
    assert set(rows["th"]["by_matrix"]) | set(rows["en"]["by_matrix"]) == {"ffn", "v", "q", "k"}
    loaded = load_model(model, device="cpu", dtype=torch.float32)
    parameters = dict(loaded.named_parameters())
    chosen = selections(loaded, union(sets, ["th"]))
    # The report counts the parameters that training the neurons trains.
    numel = sum(index.numel() * parameters[name].numel() // parameters[name].shape[dim] for name, dim, index in chosen)
    assert rows["th"]["parameter_share"] == pytest.approx(numel / sum(p.numel() for p in parameters.values()))
    assert json.loads(metadata["thresholds"])["min_docs"] == 0.7


def test_two_runs_give_the_same_bytes(sea, model, texts, tmp_path):
    for name, workers in (("a", 1), ("b", 2)):
        options = ("--method", "plnd", "--parts", "ffn,v", "--min-docs", 0.7, "--workers", workers)
        arguments = [word for text in texts for word in ("--lang", text)]
        assert sea("lsn-detect", model, *arguments, *options, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_more_thai_leaves_the_statistics_of_english_alone(sea, model, texts, tmp_path):
    th, en = texts
    for name, limit in (("few", 32), ("all", 64)):
        (tmp_path / f"th.{name}.txt").write_text("\n".join(THAI[:limit]), "utf-8")
        options = ("--method", "plnd", "--min-docs", 0.6, "--top-k", 0.3, "--parts", "ffn,v", "-o", tmp_path / name)
        assert sea("lsn-detect", model, "--lang", f"th={tmp_path}/th.{name}.txt", "--lang", en, *options).code == 0
    few, both = (load_neurons(tmp_path / name)[0] for name in ("few", "all"))
    compared = 0
    for name in few["en"].keys() & both["en"].keys():
        mine, theirs = (dict(zip(*map(np.ndarray.tolist, sets["en"][name]), strict=True)) for sets in (few, both))
        for index in mine.keys() & theirs.keys():
            assert mine[index] == theirs[index]
            compared += 1
    assert compared > 5
    thai = "model.layers.0.mlp.down_proj"
    assert few["th"][thai].scores.tolist() != both["th"][thai].scores.tolist()


def test_random_control_has_the_counts_of_its_model_file(sea, model, texts, tmp_path):
    found, first, second = (tmp_path / name for name in ("found", "first", "second"))
    arguments = [word for text in texts for word in ("--lang", text)]
    sea("lsn-detect", model, *arguments, "--method", "plnd", "--min-docs", 0.7, "--top-k", 0.3, "-o", found)
    for out, seed in ((first, 1), (second, 2)):
        assert sea("lsn-detect", model, "--method", "random", "--like", found, "--seed", seed, "-o", out).code == 0
    known, ours, others = (load_neurons(path)[0] for path in (found, first, second))
    counts = [{(lang, name): len(n.indices) for lang, weights in sets.items() for name, n in weights.items()}
              for sets in (known, ours, others)]  # fmt: skip
    assert counts[0] == counts[1] == counts[2]
    gate, down = "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.down_proj"
    assert ours["th"][gate].indices.tolist() == ours["th"][down].indices.tolist()
    assert ours["th"][down].indices.tolist() != others["th"][down].indices.tolist()
    assert ours["th"][down].indices.tolist() != known["th"][down].indices.tolist()


def test_one_language_may_come_from_stdin(sea, model, texts, tmp_path):
    th, en = texts
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in THAI).encode()
    for name, thai in (("file", th), ("pipe", "th=-")):
        result = sea(
            "lsn-detect", model, "--lang", thai, "--lang", en, "--share", 0.2, "-o", tmp_path / name, stdin=stdin
        )
        assert result.code == 0, result.stderr
    sets = [load_neurons(tmp_path / name)[0] for name in ("file", "pipe")]
    assert {name: n.indices.tolist() for name, n in sets[0]["th"].items()} == {
        name: n.indices.tolist() for name, n in sets[1]["th"].items()
    }


def test_max_tokens_bounds_what_is_read(sea, model, texts, tmp_path):
    arguments = [word for text in texts for word in ("--lang", text)]
    rows = rows_of(sea("lsn-detect", model, *arguments, "--max-tokens", "1100", "--share", 0.2, "-o", tmp_path / "n"))
    assert [row["tokens"] for row in rows.values()] == [1100, 1100]


BAD = [
    ((), 2, "no --lang"),
    (("--lang", "th={th}"), 2, "needs two at least"),
    (("--lang", "{th}", "--lang", "en={en}"), 2, "has no language"),
    (("--lang", "th={th}", "--lang", "en={th}"), 2, "is the text of both th and en"),
    (("--lang", "th={th}", "--lang", "en={copy}"), 2, "th and en have the same text"),
    (("--lang", "th={th}", "--lang", "en=-", "--lang", "lo=-"), 2, "is the text of both en and lo"),
    (("--lang", "th={th}", "--lang", "en={missing}"), 1, "no such file"),
    (("--lang", "th={th}", "--lang", "en={empty}"), 1, "en: no text to measure"),
    (("--lang", "th={th}", "--lang", "en={pipe}"), 2, "fix: cat it to en=-"),
    (("--lang", "th={th}", "--lang", "en={en}", "--save-stats", "s.gz"), 2, "is not compressed"),
    (("--lang", "th={th}", "--lang", "en={short}"), 1, "en: 45 tokens are too few"),
    (("--lang", "th={th}", "--lang", "en={broken}"), 1, "broken.jsonl:2: broken JSON"),
    (("--lang", "th={th}", "--lang", "en={en}", "--share", "0.01"), 1, "0.01 of 40 FFN neurons is none"),
    (("--lang", "th={th}", "--lang", "en={en}", "--method", "random"), 2, "belong together"),
    (("--lang", "th={th}", "--lang", "en={en}", "--top-k", "0.1"), 2, "belong to --method plnd"),
    (("--lang", "th={th}", "--lang", "en={en}", "--share", "1.5"), 2, "--share 1.5 is not a share"),
    (("--lang", "th={th}", "--lang", "en={en}", "--method", "plnd", "--parts", "mlp"), 2, "unknown --parts 'mlp'"),
    (("--lang", "th={th}", "--lang", "en={one}", "--method", "plnd"), 1, "en: 1 documents of 8 tokens or more"),
    (("--lang", "th={th}", "--lang", "en={en}", "--method", "plnd", "--threshold", "1e9"), 1, "no neuron was selected"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), BAD)
def test_bad_input_is_refused_and_the_old_output_stays(arguments, code, message, sea, model, texts, tmp_path):
    (tmp_path / "copy.txt").write_text("\n".join(THAI), "utf-8")
    (tmp_path / "short.txt").write_text("A sentence and another one, not much in all.", "utf-8")
    (tmp_path / "one.txt").write_text("A sentence that is long enough.\nNo.\n", "utf-8")
    (tmp_path / "broken.jsonl").write_text('{"text": "a text"}\n{"text": \n', "utf-8")
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe")
    names = {
        "empty": "empty.txt", "pipe": "pipe", "copy": "copy.txt", "short": "short.txt", "one": "one.txt",
        "broken": "broken.jsonl", "missing": "no.txt",
    }  # fmt: skip
    paths = {name: str(tmp_path / file) for name, file in names.items()}
    paths |= {"th": str(tmp_path / "th.txt"), "en": str(tmp_path / "en.txt")}
    out = tmp_path / "neurons.safetensors"
    out.write_text("what was there")
    words = [word.format(**paths) for word in arguments]
    result = sea("lsn-detect", model, *words, "-o", out, "--force")
    assert (result.code, result.stdout) == (code, b"")
    assert message in result.stderr
    assert out.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_existing_output_needs_force(sea, model, texts, tmp_path):
    (tmp_path / "n").write_text("what was there")
    result = sea("lsn-detect", model, "--lang", texts[0], "--lang", texts[1], "-o", tmp_path / "n")
    assert (result.code, (tmp_path / "n").read_text()) == (2, "what was there")


def test_doubtful_input_is_warned_about(sea, model, texts, tmp_path):
    (tmp_path / "lo.txt").write_text("\n".join(ENGLISH * 9), "utf-8")
    (tmp_path / "en-few.txt").write_text("\n".join(ENGLISH[:50]), "utf-8")
    arguments = ("--lang", f"lo={tmp_path}/lo.txt", "--lang", f"en={tmp_path}/en-few.txt", "--share", 0.5)
    stderr = sea("lsn-detect", model, *arguments, "-o", tmp_path / "n").stderr
    assert "lo: 0 % of the letters are of its script (Lao); 100 % are Latin" in stderr
    assert "lo has" in stderr
    assert "the smaller one's statistics" in stderr
    assert "tokens are few" in stderr


def test_tokenizer_with_more_ids_than_the_model_is_refused(sea, texts, tmp_path, tiny):
    small = save_model(tmp_path / "small", tiny(dtype=torch.float32, vocab_size=200))
    result = sea("lsn-detect", small, "--lang", texts[0], "--lang", texts[1], "-o", tmp_path / "n")
    assert result.code == 1
    assert "the tokenizer has ids up to 258, the model has 200" in result.stderr


def test_random_like_a_file_of_another_architecture_is_refused(sea, model, texts, tmp_path, tiny):
    other = save_model(tmp_path / "other", tiny(dtype=torch.float32, vocab_size=259, intermediate_size=28))
    arguments = [word for text in texts for word in ("--lang", text)]
    assert sea("lsn-detect", model, *arguments, "--share", 0.2, "-o", tmp_path / "n").code == 0
    result = sea("lsn-detect", other, "--method", "random", "--like", tmp_path / "n", "-o", tmp_path / "r")
    assert result.code == 1
    assert "intermediate_size 20" in result.stderr
    assert "intermediate_size 28" in result.stderr


@pytest.mark.parametrize(("method", "options"), [("lape", ()), ("plnd", ("--parts", "ffn,v", "--limit", 40))])
def test_thai_and_english_on_a_real_model(method, options, sea, shared, tmp_path):
    folder = shared / "data/flores200/dev"
    texts = ("--lang", f"th={folder}/tha_Thai.txt", "--lang", f"en={folder}/eng_Latn.txt", "--max-tokens", "15k")
    out = tmp_path / "neurons.safetensors"
    rows = rows_of(
        sea("lsn-detect", shared / "models/stories260K", *texts, "--method", method, *options, "-o", out)
    )  # fmt: skip
    if method == "lape":
        chosen = {(lang, name, i) for lang, weights in load_neurons(out)[0].items() for name, n in weights.items()
                  for i in n.indices.tolist() if name.endswith("down_proj")}  # fmt: skip
        assert len({(name, i) for _, name, i in chosen}) == round(0.01 * 5 * 172)
    else:
        assert all(row["num_neurons"] > 0 for row in rows.values())
    assert rows["th"]["overlap"]["en"] < 0.5


def test_all_parts_are_those_that_the_model_has(sea, model, texts, tmp_path):
    """A model without a shared expert is measured and chosen from without it, on the way too."""
    arguments = [word for text in texts for word in ("--lang", text)] + ["--method", "magnitude", "--parts", "all"]
    early = ("--stop-jaccard", 0.01, "--check-every", 500)
    rows = rows_of(sea("lsn-detect", model, *arguments, *early, "--top", 9, "-o", tmp_path / "n"))
    assert [row["num_neurons"] for row in rows.values()] == [9, 9]


def test_a_dry_run_looks_at_the_model_and_the_control(sea, model, texts, tmp_path):
    (tmp_path / "cut").write_bytes(b"cut")
    for words in ((tmp_path / "none", "--lang", texts[0], "--method", "plnd"), (model, "--method", "random", "--like",
                  tmp_path / "cut")):  # fmt: skip
        result = sea("lsn-detect", *words, "-o", tmp_path / "n", "--dry-run")
        assert (result.code, (tmp_path / "n").exists()) == (1, False), result.stderr
