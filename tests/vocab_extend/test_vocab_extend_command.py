"""`sea vocab-extend` as a user runs it."""

from __future__ import annotations

import json

import pytest

from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.new_token import NewToken, expand


@pytest.fixture
def base(byte_level, tmp_path):
    return byte_level(tmp_path / "base", [(b"t", b"h")], ["<|end|>"])


@pytest.fixture
def thai(tmp_path):
    path = tmp_path / "th.txt"
    path.write_text("กากากา ขากา\nกาขา กากา\n", encoding="utf-8")
    return path


def rows(folder):
    return [json.loads(line) for line in (folder / "new_tokens.jsonl").read_bytes().splitlines()]


def test_writes_the_folder_the_records_and_the_manifest(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, f"th={thai}", "--add", "5", "-o", tmp_path / "out")
    assert (result.code, result.stdout) == (0, b"")
    assert "th: 1.00 -> " in result.stderr and "5 new tokens (4 characters), ids 258 to 262" in result.stderr
    assert rows(tmp_path / "out")[4] == {
        "token": "à¸ģà¸²",
        "id": 262,
        "bytes": "กา".encode().hex(),
        "pieces": list("กา".encode()),
        "count": 7,
        "origin": "merge",
    }
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["command"] == "vocab-extend" and manifest["options"]["add"] == 5
    assert manifest["counts"]["tokens"] == 5 and manifest["counts"]["vocab_size"] == 263
    assert {row["path"] for row in manifest["inputs"]} >= {str(thai), str(base / "vocab.json")}


def test_counts_are_those_of_the_extended_encoding(sea, base, thai, tmp_path):
    sea("vocab-extend", base, thai, "--add", "9", "-o", tmp_path / "out")
    new = load_tokenizer(tmp_path / "out")
    ids = [id for line in thai.read_text(encoding="utf-8").splitlines() for id in new.encode(line)]
    assert [row["count"] for row in rows(tmp_path / "out")] == [ids.count(row["id"]) for row in rows(tmp_path / "out")]


def test_text_that_is_named_twice_or_empty_is_refused(sea, base, thai, tmp_path):
    (tmp_path / "none.txt").write_text("\n")
    for texts, code, message in [((thai, f"th={thai}"), 2, "named twice"), ((tmp_path / "none.txt",), 1, "no text")]:
        result = sea("vocab-extend", base, *texts, "--add", "5", "-o", tmp_path / "out")
        assert result.code == code and message in result.stderr
        assert not (tmp_path / "out").exists()


def test_two_runs_give_the_same_bytes(sea, base, thai, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        assert sea("vocab-extend", base, thai, "--add", "9", "--workers", workers, "-o", tmp_path / name).code == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_protected_text_keeps_its_encoding(sea, base, thai, tmp_path):
    thai.write_text("then then the ขากา ขากา", encoding="utf-8")
    english = tmp_path / "en.txt"
    english.write_text("then\n")
    for name, flags in (("free", []), ("kept", ["--protect", f"en={english}"])):
        result = sea("vocab-extend", base, thai, "--add", "99", "-o", tmp_path / name, *flags)
        assert result.code == 0, result.stderr
    old = load_tokenizer(base)
    assert load_tokenizer(tmp_path / "free").encode("then") != old.encode("then")
    assert load_tokenizer(tmp_path / "kept").encode("then") == old.encode("then")
    assert "en: protected, 0 of 1 documents changed" in result.stderr


def test_too_little_text_says_how_many_tokens_there_are(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, thai, "--add", "4K", "-o", tmp_path / "out")
    made = len(rows(tmp_path / "out"))
    assert result.code == 0 and f"warning: only {made} of 4,000 tokens" in result.stderr


def test_min_count_and_max_bytes(sea, base, thai, tmp_path):
    sea("vocab-extend", base, thai, "--add", "99", "--min-count", "3", "--max-bytes", "6", "-o", tmp_path / "out")
    merges = [row for row in rows(tmp_path / "out") if row["origin"] == "merge"]
    assert merges and all(len(row["bytes"]) <= 12 for row in merges)


def test_text_from_stdin(sea, base, tmp_path):
    line = json.dumps({"text": "กากากา"}).encode()
    result = sea("vocab-extend", base, "th=-", "--add", "4", "-o", tmp_path / "out", stdin=line)
    assert result.code == 0 and len(rows(tmp_path / "out")) == 4


def test_dry_run_writes_nothing(sea, base, thai, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out", "--dry-run")
    assert result.code == 0 and "would add 5 tokens, ids 258 to 262" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_another_method_is_a_usage_error(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, thai, "--add", "5", "--method", "donor", "-o", tmp_path / "out")
    assert result.code == 2 and 'no method "donor"' in result.stderr and "--method continue" in result.stderr


@pytest.mark.parametrize("flags", [["--add", "0"], ["--add", "x"], ["--add", "5", "--min-count", "0"], []])
def test_bad_numbers_are_usage_errors(sea, base, thai, tmp_path, flags):
    assert sea("vocab-extend", base, thai, *flags, "-o", tmp_path / "out").code == 2
    assert not (tmp_path / "out").exists()


def test_an_existing_output_stays_without_force(sea, base, thai, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out").code == 2
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out", "--force").code == 0
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_a_bad_line_fails_or_is_skipped(sea, base, tmp_path):
    path = tmp_path / "th.jsonl"
    path.write_text('{"text": "กากากา"}\n{"text": 7}\n', encoding="utf-8")
    command = ["vocab-extend", base, path, "--add", "4", "-o", tmp_path / "out"]
    result = sea(*command)
    assert result.code == 1 and "th.jsonl:2" in result.stderr and not (tmp_path / "out").exists()
    result = sea(*command, "--on-error", "skip")
    assert result.code == 0 and "1 rejected" in result.stderr


def test_text_that_gives_no_token_is_an_error(sea, base, tmp_path):
    path = tmp_path / "en.txt"
    path.write_text("abc\n")
    result = sea("vocab-extend", base, path, "--add", "4", "-o", tmp_path / "out")
    assert result.code == 1 and "gives no new token" in result.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["t5-v1_1-spm-unigram", "cl100k-tiktoken"])
def test_a_kind_that_cannot_be_extended_is_named(sea, shared, thai, tmp_path, name):
    result = sea("vocab-extend", shared / "tokenizers" / name, thai, "--add", "4", "-o", tmp_path / "out")
    assert result.code == 1 and "supported: SentencePiece BPE" in result.stderr
    assert ("sentencepiece-unigram" if "spm" in name else "tiktoken") in result.stderr


@pytest.mark.parametrize("name", ["models/stories260K", "tokenizers/mistral-v1-spm", "tokenizers/gptj-base"])
def test_real_bases_keep_the_old_encoding_underneath(sea, shared, tmp_path, name):
    texts = [f"{lang}={shared / 'data' / 'mono' / f'{lang}_tldr.jsonl'}" for lang in ("th", "lo")]
    protect = f"en={shared / 'data' / 'ntrex' / 'eng.txt'}"
    out = tmp_path / "out"
    result = sea("vocab-extend", shared / name, *texts, "--add", "400", "--protect", protect, "-o", out)
    assert result.code == 0, result.stderr
    base, new = load_tokenizer(shared / name), load_tokenizer(out)
    tokens = {
        row["id"]: NewToken(row["id"], row["token"], b"", "merge", None, tuple(row["pieces"])) for row in rows(out)
    }
    assert len(tokens) == 400
    unseen = (shared / "data" / "ntrex" / "tha.txt").read_text(encoding="utf-8").splitlines()[:300]
    old_size = new_size = 0
    for text in unseen:
        old_ids, new_ids = base.encode(text), new.encode(text)
        assert expand(new_ids, tokens) == old_ids
        assert new.decode(new_ids) == base.decode(old_ids)
        old_size, new_size = old_size + len(old_ids), new_size + len(new_ids)
    assert new_size < 0.8 * old_size
