"""`sea audit` as a user runs it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest

from seatools.audit.command import split_arguments
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
    row = next(row for row in rows if row["metric"] == "bytes_per_token" and row["lang"] == "en")
    digest = row["config"].pop("tokenizer")
    assert len(digest) == 64
    assert row == {
        "task": "audit",
        "lang": "en",
        "metric": "bytes_per_token",
        "value": 10 / 4,
        "stderr": None,
        "n": 2,
        "model": str(tokenizer),
        "config": {"kind": "vocab-merges", "vocab_size": 259},
    }


def test_parity_with_a_reference(sea, tokenizer, texts):
    found = values(sea("audit", tokenizer, *texts, "--reference", "en"))
    assert found["th", "parity"] == 9 / 4 and found["en", "parity"] == 1.0


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
    assert len((tmp_path / "report.jsonl").read_bytes().splitlines()) == 17
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
    ],
)
def test_bad_arguments(sea, tokenizer, arguments, code, message):
    result = sea("audit", *(argument.format(tokenizer=tokenizer) for argument in arguments))
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


def test_the_table_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    config: dict[str, object] = {}
    row = {"model": "x/mistral-v1-spm", "lang": "th", "config": config}
    numbers = {"docs": 997, "bytes": 346721, "tokens": 120404, "bytes_per_token": 2.8796, "tokens_per_character": 0.999}
    numbers |= {"parity": 10.754, "unk_rate": 0.0, "byte_fallback_rate": 0.0133, "round_trip_failures": 0.00001}
    print_tables([row | {"metric": metric, "value": value} for metric, value in numbers.items()])
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last == "mistral-v1-spm th    997   120k   2.88   1.00  10.75 0.0%   1.3% <0.1%"


def test_help_and_run_import_nothing_heavy():
    script = (
        "import sys; from seatools.cli import main; main(['audit', '--help']);"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'sentencepiece', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
