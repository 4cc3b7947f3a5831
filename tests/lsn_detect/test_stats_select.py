"""`sea lsn-detect stats | select`: measured once, chosen from by any criterion, in shards, ranks and rounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_languages import rows_of

from seatools.engine.neurons import load_neurons
from seatools.lsn_detect.early_stop import own_agreement
from seatools.lsn_detect.table import load_stats

FAST = ("--seq-len", 64, "--batch-tokens", 512)


def langs_of(texts: tuple[str, ...]) -> list[str]:
    return [word for text in texts for word in ("--lang", text)]


def tables_equal(first: Path, second: Path, *, rtol: float = 0) -> None:
    ours, theirs = load_stats([first]), load_stats([second])
    assert ours.langs.keys() == theirs.langs.keys()
    for lang, stats in ours.langs.items():
        other = theirs.langs[lang]
        assert stats.tokens.tolist() == other.tokens.tolist()
        assert stats.docs.tolist() == other.docs.tolist()
        for key, arrays in stats.values.items():
            for name, array in arrays.items():
                if array.dtype.kind == "i" and rtol == 0:
                    np.testing.assert_array_equal(array, other.values[key][name])
                elif array.dtype.kind == "f":
                    np.testing.assert_allclose(array, other.values[key][name], rtol=rtol)


@pytest.mark.parametrize(
    "method",
    [
        ("lape", "--share", 0.2, "--percentile", 0.8),
        ("plnd", "--top-k", 0.4, "--min-docs", 0.7),
        ("plnd", "--top-k", 0.6, "--top", 6),
        ("magnitude", "--top", 9, "--parts", "ffn,q,k,v,o"),
        ("taylor", "--top", 5),
    ],
    ids=lambda method: "-".join(map(str, method)),
)
def test_stats_and_select_are_the_one_go(method, sea, model, texts, tmp_path):
    one, two, stats = (tmp_path / name for name in ("one", "two", "stats"))
    taylor = ("--taylor",) if method[0] == "taylor" else ()
    grid = ("--top-k", 0.4) if "--top-k" in method else ()
    wanted = {"lape": "ffn", "plnd": "ffn,q,k,v", "taylor": "ffn"}.get(method[0], "ffn,q,k,v,o")
    rows = rows_of(sea("lsn-detect", model, *langs_of(texts), *FAST, "--method", *method, "-o", one))
    told = rows_of(
        sea("lsn-detect", "stats", model, *langs_of(texts), *FAST, *taylor, *grid, "--parts", wanted, "-o", stats)
    )
    assert {lang: row["tokens"] for lang, row in told.items()} == {lang: row["tokens"] for lang, row in rows.items()}
    again = rows_of(sea("lsn-detect", "select", stats, "--method", *method, "-o", two))
    assert again == rows
    ours, theirs = load_neurons(one)[0], load_neurons(two)[0]
    assert {lang: {name: n.indices.tolist() for name, n in weights.items()} for lang, weights in ours.items()} == {
        lang: {name: n.indices.tolist() for name, n in weights.items()} for lang, weights in theirs.items()
    }
    assert sum(row["num_neurons"] for row in rows.values()) > 0


def test_shards_add_up_to_one_run(sea, model, texts, tmp_path):
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for index, part in enumerate(parts):
        told = rows_of(sea("lsn-detect", "stats", model, *langs_of(texts), *FAST, "--shard", f"{index}/3", "-o", part))
        assert 0 < told["th"]["tokens"] < 2000
    whole, one, merged = (tmp_path / name for name in ("whole", "one", "merged"))
    assert sea("lsn-detect", "stats", model, *langs_of(texts), *FAST, "-o", whole).code == 0
    for sources, out in (([whole], one), ((parts[2], parts[0], parts[1]), merged)):
        assert sea("lsn-detect", "select", *sources, "--method", "magnitude", "--top", 8, "-o", out).code == 0
    ours, theirs = load_neurons(one)[0], load_neurons(merged)[0]
    for lang, weights in ours.items():
        for name, neurons in weights.items():
            assert neurons.indices.tolist() == theirs[lang][name].indices.tolist()
            np.testing.assert_allclose(neurons.scores, theirs[lang][name].scores, rtol=1e-5)
    few = sea("lsn-detect", "select", parts[0], parts[1], "--method", "magnitude", "--top", 8, "-o", tmp_path / "few")
    assert few.code == 0
    assert "th: shards 2/3 are missing" in few.stderr


def test_a_language_more_leaves_the_others_alone(sea, model, texts, tmp_path):
    th, en = texts
    for lang, text in (("th", th), ("en", en)):
        assert sea("lsn-detect", "stats", model, "--lang", text, *FAST, "-o", tmp_path / lang).code == 0
    assert sea("lsn-detect", "stats", model, "--lang", th, "--lang", en, *FAST, "-o", tmp_path / "both").code == 0
    alone, both = load_stats([tmp_path / "th", tmp_path / "en"]), load_stats([tmp_path / "both"])
    for lang, stats in both.langs.items():
        for key, arrays in stats.values.items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, alone.langs[lang].values[key][name])
    for langs, code in (("th,en", 0), ("th,lo", 2)):
        result = sea("lsn-detect", "select", tmp_path / "both", "--langs", langs, "--method", "plnd", "--top-k", 0.2,
                     "--min-docs", 0.5, "-o", tmp_path / f"n{code}")  # fmt: skip
        assert result.code == code, result.stderr


def test_two_processes_measure_what_one_does(sea, model, texts, tmp_path):
    arguments = ("lsn-detect", "stats", model, *langs_of(texts), *FAST, "--dtype", "fp32")
    assert sea(*arguments, "-o", tmp_path / "one").code == 0
    result = sea(*arguments, "--nproc", 2, "-o", tmp_path / "two")
    assert result.code == 0, result.stderr
    tables_equal(tmp_path / "one", tmp_path / "two", rtol=1e-4)


def test_reading_stops_once_the_halves_agree(sea, model, texts, tmp_path):
    rule = ("--method", "magnitude", "--top", 10, "--check-every", 300)
    arguments = ("lsn-detect", model, *langs_of(texts), *FAST, *rule)
    whole = rows_of(sea(*arguments, "-o", tmp_path / "whole"))
    result = sea(*arguments, "--stop-jaccard", 0.2, "-v", "-o", tmp_path / "early")
    early = rows_of(result)
    assert "the halves agree" in result.stderr
    assert 300 <= early["th"]["tokens"] < whole["th"]["tokens"]
    never = rows_of(sea(*arguments, "--stop-jaccard", 1.0, "-o", tmp_path / "never"))
    assert never["th"]["tokens"] == whole["th"]["tokens"] or never["th"]["num_neurons"] == 10


def test_a_language_by_itself_has_an_agreement(sea, model, texts, tmp_path):
    result = sea("lsn-detect", "stats", model, "--lang", texts[0], *FAST, "-o", tmp_path / "all")
    assert result.code == 0
    agreed = own_agreement(load_stats([tmp_path / "all"]))
    assert 0 < agreed["th"] <= 1


def test_select_starts_without_torch(tmp_path):
    code = (
        "import sys; from seatools.lsn_detect.select_command import main\n"
        "try: main(['none.stats', '-o', 'n'])\n"
        "except Exception as error: print(error)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "none.stats" in done.stdout


BAD: list[tuple[tuple[Any, ...], int, str]] = [
    (("stats", "{model}", "-o", "{out}"), 2, "no --lang"),
    (("stats", "{model}", "--lang", "th={th}", "--shard", "3/3", "-o", "{out}"), 2, "is no shard"),
    (("stats", "{model}", "--lang", "th={th}", "--parts", "shared", "-o", "{out}"), 1, "has no shared expert"),
    (("stats", "{model}", "--lang", "th={th}", "--seq-len", 4096, "-o", "{out}"), 2, "positions"),
    (("stats", "{model}", "--lang", "th={th}", "--qk", "none", "-o", "{out}"), 2, "unknown --qk 'none'"),
    (("stats", "{model}", "--lang", "th={th}", "--stop-jaccard", 2, "-o", "{out}"), 2, "--stop-jaccard"),
    (("stats", "{model}", "--lang", "th={th}", "--stop-jaccard", 0.5, "--shard", "0/2", "-o", "{out}"), 2, "--shard"),
    (("stats", "{model}", "--lang", "th={th}", "-o", "{model}/s"), 2, "inside the model's folder"),
    (("stats", "{model}", "--lang", "th=-", "--nproc", 2, "-o", "{out}"), 2, "stdin cannot be read by several"),
    (("select", "{th}", "-o", "{out}"), 1, "th.txt"),
    (("select", "{model}/model.safetensors", "-o", "{out}"), 1, "not a statistics file"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD)
def test_bad_input_is_refused_and_the_old_output_stays(arguments, code, message, sea, model, texts, tmp_path):
    out = tmp_path / "stats.safetensors"
    out.write_text("what was there")
    names = {"th": tmp_path / "th.txt", "model": model, "out": out}
    result = sea("lsn-detect", *[str(word).format(**names) for word in arguments], "--force")
    assert (result.code, result.stdout) == (code, b""), result.stderr
    assert message in result.stderr
    assert out.read_text() == "what was there"


def test_a_tokenizer_of_another_model_is_told(sea, texts, shared, tmp_path):
    folder = shared / "models"
    for tokenizer, told in (("babyllama-tok105", True), ("stories260K", False)):
        result = sea("lsn-detect", "stats", folder / "stories260K", "--tokenizer", folder / tokenizer, "--parts", "ffn",
                     "--lang", texts[1], "-o", tmp_path / tokenizer)  # fmt: skip
        assert result.code == 0, result.stderr
        assert ("worse than chance" in result.stderr) == told


def test_shards_of_different_lengths_and_a_picture_over_the_neurons_are_refused(sea, model, texts, tmp_path):
    stats = [tmp_path / name for name in ("s0", "s1", "en")]
    common = ("lsn-detect", "stats", model, *FAST, "--parts", "ffn")
    assert sea(*common, "--lang", texts[0], "--shard", "0/2", "-o", stats[0]).code == 0
    assert sea(*common, "--lang", texts[0], "--shard", "1/2", "--max-tokens", 500, "-o", stats[1]).code == 0
    assert sea(*common, "--lang", texts[1], "-o", stats[2]).code == 0
    result = sea("lsn-detect", "select", *stats, "-o", tmp_path / "n")
    assert result.code == 1 and "of 1000000 tokens and of 500 tokens" in result.stderr
    result = sea("lsn-detect", "select", stats[2], stats[0], stats[0], "-o", tmp_path / "n")
    assert f"{stats[0]}, {stats[0]}: th: shard 0/2 is there twice" in result.stderr
    result = sea(
        "lsn-detect", "select", stats[2], "--method", "plnd", "-o", tmp_path / "x.png", "--plot", tmp_path / "x.png"
    )
    assert result.code == 2 and not (tmp_path / "x.png").exists()


def test_show_tells_what_select_told(sea, model, texts, tmp_path):
    arguments = ("lsn-detect", model, *langs_of(texts), *FAST, "--method", "magnitude", "--top", 9, "--parts", "ffn,v")
    told = rows_of(sea(*arguments, "-o", tmp_path / "n"))
    shown = rows_of(sea("lsn-detect", "show", tmp_path / "n"))
    assert {lang: {**row, **shown[lang]} for lang, row in told.items()} == told
    assert sea("lsn-detect", "show", tmp_path / "th.txt").code == 1
