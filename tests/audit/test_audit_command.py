"""`sea audit` as a user runs it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys

import pytest

from seatools.audit.sources import split_arguments
from seatools.audit.table import print_tables


def values(result):
    return {(row["lang"], row["metric"]): row["value"] for row in map(json.loads, result.stdout.splitlines())}


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "en.txt").write_text("the\nthe the\n")
    (tmp_path / "th.jsonl").write_text('{"text": "กา"}\n{"text": "ก"}\n', encoding="utf-8")
    return f"en={tmp_path / 'en.txt'}", f"th={tmp_path / 'th.jsonl'}"


def test_one_record_a_metric(sea, tokenizer, texts):
    result = sea("audit", tokenizer, *texts)
    assert result.code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    row = next(row for row in rows if row["metric"] == "round_trip_failures" and row["lang"] == "en")
    digest = row["config"].pop("tokenizer")
    assert len(digest) == 64
    assert row == {
        "task": "audit",
        "lang": "en",
        "metric": "round_trip_failures",
        "value": 0,
        "stderr": None,
        "n": 2,
        "model": str(tokenizer),
        "config": {"kind": "vocab-merges", "vocab_size": 259},
    }
    row = next(row for row in rows if row["metric"] == "bytes_per_token" and row["lang"] == "en")
    assert row["value"] == 10 / 4 and row["ci_low"] <= 10 / 4 <= row["ci_high"] and row["stderr"] > 0


def test_parity_with_a_reference(sea, tokenizer, texts):
    found = values(sea("audit", tokenizer, *texts, "--reference", "en"))
    assert found["th", "parity"] == 9 / 4 and found["en", "parity"] == 1.0


def test_parity_with_the_reference_under_another_tokenizer(sea, shared, tokenizer, texts):
    """SeaLLMs' table: every tokenizer over one tokenizer's English."""
    other = shared / "tokenizers" / "gpt2-tiktoken"  # "the": 1, "the the": 2
    result = sea("audit", tokenizer, *texts, "--reference", "en", "--reference-tokenizer", other)
    found = values(result)
    assert found["th", "parity"] == 9 / 3 and found["en", "parity"] == 4 / 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["model"] for row in rows} == {str(tokenizer)}
    configs = [row["config"] for row in rows if row["metric"] == "parity"]
    assert {(config["reference"], config["reference_tokenizer"]) for config in configs} == {("en", str(other))}
    result = sea("audit", tokenizer, *texts, "--reference-tokenizer", other)
    assert result.code == 2 and "needs --reference" in result.stderr


def test_parity_needs_parallel_text(sea, tokenizer, texts, tmp_path):
    (tmp_path / "en.txt").write_text("the\nthe\nthe\n")
    result = sea("audit", tokenizer, *texts, "--reference", "en")
    assert result.code == 1 and "th has 2 records and en has 3" in result.stderr and result.stdout == b""


def test_parity_needs_every_line(sea, tokenizer, texts, tmp_path):
    for name in ("en.jsonl", "th.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}\n{"text": 1}\n')
    command = ["audit", tokenizer, f"en={tmp_path / 'en.jsonl'}", texts[1], "--reference", "en", "--on-error", "skip"]
    result = sea(*command)
    assert result.code == 1 and "2 bad lines were dropped" in result.stderr


def test_an_unknown_reference_is_a_usage_error(sea, tokenizer, texts):
    assert sea("audit", tokenizer, *texts, "--reference", "fr").code == 2


def test_a_broken_limit_exits_3_after_the_report(sea, tokenizer, texts):
    result = sea("audit", tokenizer, *texts, "--fail-under", "bytes_per_token=2")
    assert result.code == 3 and ("th", "bytes_per_token") in values(result)
    assert f"bytes_per_token is 1 for th with {tokenizer}, under 2" in result.stderr
    assert sea("audit", tokenizer, *texts, "--fail-under", "bytes_per_token=1").code == 0
    assert sea("audit", tokenizer, *texts, "--fail-over", "fertility=9", "--fail-over", "bytes_per_token=1").code == 3


def test_an_unknown_metric_is_a_usage_error(sea, tokenizer, texts):
    result = sea("audit", tokenizer, *texts, "--fail-over", "speed=1")
    assert result.code == 2 and "bytes_per_token" in result.stderr


def test_without_text_the_vocabulary_is_described(sea, tokenizer):
    rows = [json.loads(line) for line in sea("audit", tokenizer).stdout.splitlines()]
    assert rows[0]["metric"] == "vocab_size" and rows[0]["value"] == 259 and rows[0]["lang"] is None
    scripts = {row["config"]["script"]: row["value"] for row in rows if row["metric"] == "script_tokens"}
    assert scripts == {"Latin": 54}


def test_unlabelled_text_stdin_and_compression(sea, tokenizer, tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "the", "lang": "en"}\n{"text": "the"}\n'))
    found = values(sea("audit", tokenizer, tmp_path / "a.jsonl.gz", "vi=-", stdin=b'{"text": "the"}\n'))
    assert {lang for lang, _ in found} == {"en", "und", "vi"}


def test_two_tokenizers(sea, shared, tokenizer, texts):
    result = sea("audit", tokenizer, shared / "models" / "stories260K", *texts)
    assert {json.loads(line)["model"] for line in result.stdout.splitlines()} == {
        str(tokenizer),
        str(shared / "models" / "stories260K"),
    }
    assert "warning:" in result.stderr  # the notes of stories260K


def test_text_that_is_not_nfc_is_told(sea, tokenizer, tmp_path):
    (tmp_path / "vi.txt").write_text("Tie\u0302\u0301ng\nthe\n", encoding="utf-8")
    result = sea("audit", tokenizer, f"vi={tmp_path / 'vi.txt'}")
    assert "warning: vi: 50.0% of the documents are not in NFC" in result.stderr


def test_limit(sea, tokenizer, texts):
    assert values(sea("audit", tokenizer, *texts, "--limit", "1"))["en", "docs"] == 1


def test_a_file_gets_a_manifest(sea, tokenizer, texts, tmp_path):
    result = sea("audit", tokenizer, *texts, "-o", tmp_path / "report.jsonl")
    assert (result.code, result.stdout) == (0, b"")
    assert len((tmp_path / "report.jsonl").read_bytes().splitlines()) == 25
    manifest = json.loads((tmp_path / "report.jsonl.manifest.json").read_text())
    assert str(tmp_path / "th.jsonl") in {row["path"] for row in manifest["inputs"]}
    assert sea("audit", tokenizer, *texts, "-o", tmp_path / "report.jsonl").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["th=nowhere.txt"], 2, "no tokenizer given"),
        (["nowhere"], 1, "nowhere does not exist"),
        (["{tokenizer}", "th=nowhere.txt"], 1, "nowhere.txt: no such file"),
        (["{tokenizer}", "th=-", "en=-"], 2, "stdin is named twice"),
        (["{tokenizer}", "th="], 2, 'nothing stands after "th="'),
        ([], 2, "missing argument"),
        (["{tokenizer}", "--price", "-1", "{text}"], 2, "'--price'"),
        (["{tokenizer}", "--price", "inf", "{text}"], 2, "--price"),
        (["{tokenizer}", "--context", "0", "{text}"], 2, "'--context'"),
        (["{tokenizer}", "--context", "4096"], 2, "--context needs text"),
        (["{tokenizer}", "--segment"], 2, "--segment needs text"),
        (["{tokenizer}", "--list", "rare"], 2, "unknown --list 'rare'"),
        (["{tokenizer}", "--list", "dormant", "{text}"], 2, "takes no text"),
        (["{tokenizer}", "{text}", "--fail-over", "dormant_tokens=0"], 2, 'no metric "dormant_tokens"'),
        (["{tokenizer}", "{text}", "--fail-over", "drift=0"], 2, "nothing here has the metric drift"),
    ],
)
def test_bad_arguments(sea, tokenizer, texts, arguments, code, message):
    result = sea("audit", *(argument.format(tokenizer=tokenizer, text=texts[0]) for argument in arguments))
    assert result.code == code and message in result.stderr


def test_empty_text_is_an_error(sea, tokenizer, tmp_path):
    (tmp_path / "th.txt").write_text("\n\n")
    result = sea("audit", tokenizer, f"th={tmp_path / 'th.txt'}")
    assert result.code == 1 and "no text for th" in result.stderr


def test_an_input_is_never_the_output(sea, tokenizer, texts, tmp_path):
    for source in (tmp_path / "en.txt", tokenizer / "vocab.json"):
        before = source.read_bytes()
        result = sea("audit", tokenizer, *texts, "-o", source, "--force")
        assert result.code == 2 and "both input and output" in result.stderr
        assert source.read_bytes() == before


def test_a_file_named_twice_would_count_twice(sea, tokenizer, texts):
    result = sea("audit", tokenizer, texts[0], texts[0])
    assert result.code == 2 and "named twice" in result.stderr


def test_arguments_are_told_apart(tmp_path):
    assert split_arguments(
        ["a/tokenizer.model", "merges.txt", "th=x", "b.txt", "c.jsonl.zst", "-", "tokenizer.json"]
    ) == (
        ["a/tokenizer.model", "merges.txt", "tokenizer.json"],
        [("th", "x"), (None, "b.txt"), (None, "c.jsonl.zst"), (None, "-")],
    )


@pytest.fixture
def extended(tokenizer, tmp_path):
    """The tokenizer with every id moved by one and the merge "a a" added."""
    folder = tmp_path / "extended"
    folder.mkdir()
    vocabulary = json.loads((tokenizer / "vocab.json").read_text(encoding="utf-8"))
    vocabulary = {piece: id + 1 for piece, id in vocabulary.items()} | {"aa": 0}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text((tokenizer / "merges.txt").read_text() + "a a\n")
    decoder = {"259": {"content": "<|end|>", "special": True}}
    config = {"tokenizer_class": "GPT2Tokenizer", "unk_token": None, "added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_drift_against_the_first_tokenizer(sea, tokenizer, extended, tmp_path):
    (tmp_path / "en.txt").write_text("the\nbaab\nthe the\nabc\n")
    (tmp_path / "vi.txt").write_text("the\nthe\n")
    sources = [f"{lang}={tmp_path / lang}.txt" for lang in ("en", "vi")]
    result = sea("audit", tokenizer, extended, *sources, "--fail-over", "drift=0.25")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    drift = {row["lang"]: row for row in rows if row["metric"] == "drift"}
    assert result.code == 0 and {lang: row["value"] for lang, row in drift.items()} == {"en": 0.25, "vi": 0}
    assert {row["model"] for row in drift.values()} == {str(extended)}
    assert drift["en"]["config"]["against"] == str(tokenizer)
    change = {row["lang"]: row["value"] for row in rows if row["metric"] == "token_change"}
    assert change == {"en": pytest.approx(10 / 11 - 1), "vi": 0}
    assert sea("audit", tokenizer, extended, *sources, "--fail-over", "drift=0.24").code == 3


def test_vocabulary_limits(sea, tokenizer):
    assert sea("audit", tokenizer, "--fail-over", "unreachable_tokens=0").code == 0
    result = sea("audit", tokenizer, "--fail-over", "byte_tokens=100")
    assert result.code == 3 and "byte_tokens is 128" in result.stderr


def test_listed_tokens_are_jsonl(sea, tokenizer, tmp_path):
    (tokenizer / "merges.txt").write_text("t h\n")
    result = sea("audit", tokenizer, "--list", "unmerged")
    row = {"token": "the", "id": 257, "bytes": b"the".hex(), "kind": "unmerged", "text": "the", "script": "Latin"}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"model": str(tokenizer), **row}]
    assert sea("audit", tokenizer, "--list", "dormant").stdout == b""


@pytest.mark.parametrize("arguments", [["--csv"], ["-o", "{folder}/report.csv"]])
def test_csv(sea, tokenizer, texts, tmp_path, arguments):
    result = sea("audit", tokenizer, *texts, "--reference", "en", *(part.format(folder=tmp_path) for part in arguments))
    written = tmp_path / "report.csv"
    rows = list(csv.DictReader(io.StringIO((written.read_bytes() if written.exists() else result.stdout).decode())))
    parity = next(row for row in rows if row["lang"] == "th" and row["metric"] == "parity")
    assert (float(parity["value"]), parity["reference"], parity["model"]) == (9 / 4, "en", str(tokenizer))
    assert float(parity["ci_low"]) <= 9 / 4 <= float(parity["ci_high"]) and parity["n"] == "2"
    assert len(rows) == 27


def test_workers_and_batches_change_nothing(sea, shared, monkeypatch):
    sources = [f"{lang}={shared / 'data' / 'ntrex'}/{lang}.txt" for lang in ("eng", "lao")]
    command = ["audit", shared / "tokenizers" / "gpt2-tiktoken", *sources, "--reference", "eng"]
    wanted = sea(*command)
    monkeypatch.setattr("seatools.audit.sources._BATCH_BYTES", 10_000)
    assert sea(*command, "--workers", "1").stdout == wanted.stdout and wanted.code == 0


def test_fast_gives_the_same_report(sea, shared):
    pytest.importorskip("gigatoken", reason="needs the extra: pip install 'sea-adapt[fast]'")
    text = f"th={shared / 'data' / 'ntrex'}/tha.txt"
    command = ["audit", shared / "tokenizers" / "mistral-v1-spm", text]
    assert sea(*command, "--fast").stdout == sea(*command).stdout


def test_fast_is_refused_when_its_ids_differ(sea, shared, monkeypatch):
    pytest.importorskip("gigatoken", reason="needs the extra: pip install 'sea-adapt[fast]'")
    from seatools.text.fast_encode import FastEncoder

    path = shared / "data" / "flores200" / "dev" / "tha_Thai.txt"
    first = path.read_text(encoding="utf-8").split("\n")[0]
    right = FastEncoder.encode

    def wrong_there(self, texts):
        ids, num_tokens = right(self, texts)
        return ids + (texts[0] == first), num_tokens

    monkeypatch.setattr(FastEncoder, "encode", wrong_there)
    result = sea("audit", shared / "tokenizers" / "gpt2-tiktoken", f"th={path}", "--fast")
    assert result.code == 1 and "gives other ids" in result.stderr and result.stdout == b""


@pytest.mark.parametrize("flag", ["--fast", "--identify", "--segment"])
def test_a_missing_extra_is_said_before_anything_is_read(sea, tokenizer, texts, monkeypatch, flag):
    for package in ("gigatoken", "pycld2", "pythainlp"):
        monkeypatch.setitem(sys.modules, package, None)
    result = sea("audit", tokenizer, *texts, flag)
    assert result.code == 1 and "sea-adapt[" in result.stderr and result.stdout == b""


def test_segment(sea, tokenizer, texts, tmp_path):
    (tmp_path / "my.txt").write_text("မြန်မာ\n", encoding="utf-8")
    (tmp_path / "ja.txt").write_text("日本\n", encoding="utf-8")
    result = sea("audit", tokenizer, texts[0], f"my={tmp_path / 'my.txt'}", f"ja={tmp_path / 'ja.txt'}", "--segment")
    found = values(result)
    assert found["my", "tokens_per_syllable"] == 18 / 2
    assert {lang for lang, metric in found if metric == "tokens_per_syllable"} == {"my"}
    assert "warning: ja: no segmenter" in result.stderr


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b'{"text": "\\ud800"}\n', 1, "broken JSON"),
        (b'{"text": "a\\u0000b"}\n', 1, "NUL"),
        (b"a\x00b\n", 1, "NUL"),
        (b'{"text": ""}\n', 1, "is empty"),
        (b"", 1, "no text for en"),
    ],
)
def test_hostile_text(sea, tokenizer, content, code, message):
    result = sea("audit", tokenizer, "en=-", stdin=content)
    assert result.code == code and message in result.stderr and result.stdout == b""


def test_one_document_and_one_huge_line(sea, tokenizer, tmp_path):
    line = "the cat \u0e01 " * 300_000
    (tmp_path / "en.txt").write_text(line.strip() + "\n", encoding="utf-8")
    result = sea("audit", tokenizer, f"en={tmp_path / 'en.txt'}")
    found = values(result)
    assert found["en", "docs"] == 1 and found["en", "bytes"] == len(line.strip().encode())
    assert found["en", "fertility"] == found["en", "tokens"] / 900_000
    row = next(json.loads(row) for row in result.stdout.splitlines() if b"bytes_per_token" in row)
    assert row["stderr"] is None and "ci_low" not in row  # one document has no spread


def test_the_same_label_twice_is_one_language(sea, tokenizer, texts, tmp_path):
    (tmp_path / "more.txt").write_text("the\n")
    assert values(sea("audit", tokenizer, texts[0], f"en={tmp_path / 'more.txt'}"))["en", "docs"] == 3


def test_nothing_is_left_behind_when_a_check_fails_while_batches_are_under_way(sea, tokenizer, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "the"}\n' * 200_000 + b"broken\n")
    result = sea("audit", tokenizer, f"en={tmp_path / 'a.jsonl'}", "-o", tmp_path / "out.jsonl")
    assert result.code == 1 and "a.jsonl:200001" in result.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_the_table_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    config: dict[str, object] = {}
    row = {"model": "x/mistral-v1-spm", "lang": "th", "config": config}
    numbers = {"docs": 997, "bytes": 346721, "tokens": 120404, "bytes_per_token": 2.8796, "tokens_per_character": 0.999}
    numbers |= {"parity": 10.754, "unk_rate": 0.0, "byte_fallback_rate": 0.0133, "round_trip_failures": 0.00001}
    print_tables([row | {"metric": metric, "value": value} for metric, value in numbers.items()])
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last == "mistral-v1-spm th    997   120k   2.88   1.00  10.75 0.0%   1.3% <0.1%"


def test_tokenizers_stand_one_under_another_and_wide_tables_are_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "54")
    rows = [
        {"model": model, "lang": lang, "config": {}, "metric": metric, "value": value}
        for model in ("x/old", "x/new")
        for lang in ("th", "en")
        for metric, value in [("docs", 10), ("tokens", 2000), ("bytes_per_token", 4.5), ("fertility", 1.5)]
        + [("parity", 1.0), ("drift", 0.125), ("token_change", -0.0001), ("unk_rate", 0.5), ("price", 3.0)]
        if not (model == "x/old" and metric in ("drift", "token_change"))
    ]
    print_tables(rows)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if "lang" in line] == ["tokenizer"] * 2
    bodies = [line for line in map(str.split, printed) if line[:1] in (["old"], ["new"])]
    order = [("old", "th"), ("new", "th"), ("old", "en"), ("new", "en")]
    assert [tuple(line[:2]) for line in bodies] == order * 2
    assert bodies[1][2:] == ["10", "2000", "4.50", "1.50", "1.00", "12.5%"]
    assert bodies[5][2:] == [">-0.1%", "50.0%", "3.00"] and bodies[4][2:] == ["-", "50.0%", "3.00"]
    assert all(len(line) <= 54 for line in printed)


def test_help_and_run_import_nothing_heavy():
    script = (
        "import sys; from seatools.cli import main; main(['audit', '--help']);"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'sentencepiece', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("reference", "fix"), [("tha", "did you mean th?"), ("Thai", "did you mean th?"), ("fr", "add fr=")]
)
def test_a_reference_that_is_spelled_otherwise_is_told(sea, shared, reference, fix):
    texts = shared / "data/flores200/dev"
    result = sea(
        "audit", shared / "tokenizers/mistral-v1-spm", f"th={texts / 'tha_Thai.txt'}", "--reference", reference
    )
    assert result.code == 2 and fix in result.stderr


def test_a_text_in_the_place_of_a_tokenizer_is_told(sea, shared, tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    model = shared / "tokenizers/mistral-v1-spm"
    for argv in ([f"th={tmp_path / 'a.txt'}", model], [tmp_path / "a.txt", model]):
        result = sea("vocab-extend", *argv, "--add", 10, "-o", tmp_path / "out")
        assert result.code == 1 and ("comes first" in result.stderr or "is a text, not a tokenizer" in result.stderr)
