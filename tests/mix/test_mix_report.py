"""What `sea mix` says of a mix: its plan, warnings, manifest and rejects."""

from __future__ import annotations

import json
import os

from mix_sources import plan_rows, write_records


def test_a_dry_run_writes_nothing(sea, tmp_path, two):
    before = sorted(os.listdir(tmp_path))
    broken = tmp_path / "a.jsonl"
    broken.write_bytes(broken.read_bytes() + b"{\n")
    result = sea(
        "mix", *two, "--unit", "docs", "-o", tmp_path / "out.jsonl", "--on-error", "quarantine", "--dry-run", "--json"
    )
    assert sorted(os.listdir(tmp_path)) == before
    assert plan_rows(result)["a"] == {
        "source": "a", "files": 1, "docs": 10, "bytes": 20, "tokens": None, "loss_tokens": None,
        "bytes_per_token": None, "rejected": 1, "weight": 1.0, "max_epochs": 1, "unit": "docs", "emitted": 10,
        "emitted_docs": 10, "emitted_bytes": 20, "emitted_tokens": None, "emitted_loss_tokens": None, "epochs": 1.0,
        "share": 0.5, "target_share": 0.5, "window_deviation": None, "exhausted": True,
        "units_wanted": None, "phases": [],
    }  # fmt: skip


def test_the_plan_is_a_table_on_stderr(sea, two, byte_tokenizer):
    result = sea("mix", f"{two[0]}:1", f"{two[1]}:3", "--tokenizer", byte_tokenizer, "--budget", 100)
    assert result.stderr == (
        "source  docs  bytes  tokens  bytes/token  weight     epochs  emitted docs  emitted tokens   share\n"
        "a         10     20      40         0.50       1  0.70 of 4             7              28  28.00%\n"
        "b         10     40      60         0.67       3  1.20 of 4            12              72  72.00%\n"
        "100 tokens in 19 documents; ends at the budget of 100\n"
        "warning: documents are long for so small a mix, so that shares miss their targets: "
        "a 28.0% instead of 25.0%, b 72.0% instead of 75.0%\n"
    )


def test_quiet_leaves_the_warnings(sea, two):
    assert sea("mix", *two, "--unit", "bytes", "-q").stderr == ""
    assert sea("mix", two[0], "--unit", "docs", "--budget", 50, "-q").stderr.startswith("warning: the budget is not")


def test_a_source_that_is_not_nfc_is_told_of(sea, tmp_path):
    decomposed = write_records(tmp_path / "vi.jsonl", ["tie\u0302\u0301ng Vie\u0323\u0302t", "abc", "def", "ghi"])
    result = sea("mix", f"vi={decomposed}", "--unit", "docs")
    assert "source vi: 25% of 4 sampled documents are not in Unicode form NFC" in result.stderr
    assert result.stdout.count("e\u0302\u0301".encode()) == 1


def test_a_tokenizer_that_does_not_know_the_script_is_told_of(sea, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0)).save(str(tmp_path / "tokenizer.json"))
    th = write_records(tmp_path / "th.jsonl", ["ก ข ค ab", "ab"])
    ab = write_records(tmp_path / "ab.jsonl", ["abab"])
    result = sea("mix", f"th={th}", f"ab={ab}", "--tokenizer", tmp_path / "tokenizer.json")
    assert "source th: the tokenizer turns" in result.stderr and "of its tokens into <unk>" in result.stderr
    assert "source ab" not in result.stderr


def test_a_tokenizer_that_loses_the_text_is_an_error_unless_allowed(sea, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0)).save(str(tmp_path / "tokenizer.json"))
    th = write_records(tmp_path / "th.jsonl", ["ก a ข b ค a", "ab"])
    options = [f"th={th}", "--tokenizer", tmp_path / "tokenizer.json"]
    failed = sea("mix", *options, "-o", tmp_path / "out.jsonl")
    assert failed.code == 1 and not (tmp_path / "out.jsonl").exists()
    assert "source th: the tokenizer turns 38% of its tokens into <unk>" in failed.stderr
    assert "--allow-unk" in failed.stderr
    allowed = sea("mix", *options, "--allow-unk")
    assert len(allowed.stdout.splitlines()) == 2 and "warning: source th: the tokenizer turns 37.5%" in allowed.stderr


def test_the_manifest_says_what_went_in_and_out(sea, tmp_path, two, byte_tokenizer):
    broken = tmp_path / "a.jsonl"
    broken.write_bytes(broken.read_bytes() + b"{\n")
    out = tmp_path / "out.jsonl"
    result = sea("mix", *two, "--tokenizer", byte_tokenizer, "-o", out, "--on-error", "skip")
    assert result.code == 0 and "1 rejected (broken json 1)" in result.stderr
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert [row.get("source") for row in manifest["inputs"]] == ["a", "b", None]
    assert all(len(row["sha256"]) == 64 for row in manifest["inputs"])
    assert manifest["rejects"] == {"broken json": 1} and manifest["counts"]["emitted"] == 82
    assert [row["emitted_docs"] for row in manifest["counts"]["sources"]] == [10, 7]


def test_broken_lines_are_kept_in_quarantine(sea, tmp_path, two):
    broken = tmp_path / "a.jsonl"
    broken.write_bytes(b'{"text": 3}\n' + broken.read_bytes())
    out = tmp_path / "out.jsonl"
    assert sea("mix", *two, "--unit", "docs", "-o", out, "--on-error", "quarantine").code == 0
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl.quarantine.jsonl").read_bytes().splitlines()]
    assert (row["line"], row["raw"]) == (1, '{"text": 3}')
    assert len(out.read_bytes().splitlines()) == 20


def test_a_record_of_a_mixed_schema_is_a_reject_and_not_cut_down_unseen(sea, tmp_path):
    path = tmp_path / "a.jsonl"
    turns = '"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    path.write_text(f'{{"text": "kept"}}\n{{{turns}, "text": "this would be lost"}}\n{{{turns}, "text": null}}\n')
    failed = sea("mix", f"a={path}", "--unit", "bytes")
    assert failed.code == 1 and f'{path}:2: the record has both "messages" and "text"' in failed.stderr
    result = sea("mix", f"a={path}", "--unit", "bytes", "--on-error", "skip")
    assert "1 rejected (mixed schema 1)" in result.stderr and len(result.stdout.splitlines()) == 2


def test_a_record_that_cannot_be_tokenised_is_a_reject(sea, tmp_path, byte_tokenizer, template_path):
    chat = tmp_path / "chat.jsonl"
    good = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
    chat.write_bytes(good + b'\n{"messages": [{"role": "user", "content": "q"}]}\n')
    options = [f"c={chat}", "--tokenizer", byte_tokenizer, "--chat-template", template_path]
    failed = sea("mix", *options)
    assert failed.code == 1 and failed.stdout == b"" and f"{chat}:2: nothing to train" in failed.stderr
    skipped = sea("mix", *options, "--on-error", "skip")
    assert skipped.stdout == good + b"\n" and "1 rejected (nothing to train 1)" in skipped.stderr


def test_other_units_show_what_they_become_in_tokens(sea, two, byte_tokenizer):
    result = sea("mix", *two, "--tokenizer", byte_tokenizer, "--unit", "docs", "--dry-run")
    lines = result.stderr.splitlines()
    assert lines[0].split()[-5:] == ["emitted", "docs", "share", "emitted", "tokens"]
    assert [line.split()[-2:] for line in lines[1:3]] == [["50.00%", "40"], ["50.00%", "60"]]
