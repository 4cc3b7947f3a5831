"""`sea mix` from the command line: which bytes come out, and what is refused."""

from __future__ import annotations

import gzip
import os

import pytest
import zstandard
from mix_sources import texts, write_records

ODD_LINES = [
    b'{ "text" : "spaces" , "n": 1.0e3 }',
    b'{"n": 123456789012345678901234567890, "text": "big \\u0041"}',
    b'{"text": "double", "text": "keys", "\\u00e9": null}',
    b'\t{"text": "tab before"}',
]


def test_documents_leave_byte_for_byte_as_they_came(sea, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\r\n".join(ODD_LINES) + b"\r\n")
    result = sea("mix", f"a={tmp_path / 'a.jsonl'}", "--unit", "docs")
    assert sorted(result.stdout.split(b"\n")) == sorted([*ODD_LINES, b""])


def test_plain_text_leaves_as_records(sea, tmp_path):
    (tmp_path / "a.txt").write_text('say "hi"\n\nสวัสดี\n', encoding="utf-8")
    result = sea("mix", f"a={tmp_path / 'a.txt'}", "--unit", "docs", "--shuffle", "none")
    assert result.stdout.decode() == '{"text":"say \\"hi\\""}\n{"text":"สวัสดี"}\n'


def test_compressed_and_piped_inputs_give_the_bytes_of_plain_ones(sea, tmp_path, two):
    plain = sea("mix", *two, "--unit", "bytes").stdout
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress((tmp_path / "b.jsonl").read_bytes()))
    packed = sea("mix", f"a={tmp_path / 'a.jsonl.gz'}", f"b={tmp_path / 'b.jsonl.zst'}", "--unit", "bytes")
    piped = sea("mix", "a=-:1", two[1], "--unit", "bytes", stdin=(tmp_path / "a.jsonl").read_bytes())
    assert plain and packed.stdout == plain and piped.stdout == plain


def test_text_and_chat_records_go_in_one_stream(sea, tmp_path):
    chat = [
        b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "abc"}]}',
        b'{"prompt": "q", "completion": "abc"}',
    ]
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join(chat))
    text = write_records(tmp_path / "text.jsonl", ["abcd", "efgh"])
    result = sea("mix", f"text={text}", f"chat={tmp_path / 'chat.jsonl'}", "--unit", "bytes", "--shuffle", "none")
    assert result.stdout.splitlines() == [b'{"text":"abcd"}', chat[0], b'{"text":"efgh"}', chat[1]]


def test_compressed_output_holds_the_same(sea, tmp_path, two):
    plain = sea("mix", *two, "--unit", "bytes").stdout
    assert sea("mix", *two, "--unit", "bytes", "-o", tmp_path / "out.jsonl.gz").code == 0
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == plain


def test_workers_change_nothing(sea, tmp_path, two, byte_tokenizer):
    many = write_records(tmp_path / "many.jsonl", [f"{i} " * (i % 7 + 1) for i in range(1500)])
    runs = [
        sea("mix", f"m={many}", *two, "--tokenizer", byte_tokenizer, "--budget", "9K", "--workers", n)
        for n in (1, 2, 7)
    ]
    assert runs[0].stdout and len({run.stdout for run in runs}) == 1 and len({run.stderr for run in runs}) == 1


def test_the_order_of_naming_does_not_change_the_order_inside_a_source(sea, two):
    def of_a(output):
        return [text for text in texts(output) if text.startswith("a")]

    forth, back = (sea("mix", *order, "--unit", "docs").stdout for order in (two, two[::-1]))
    assert forth != back and of_a(forth) == of_a(back)


def test_the_seed_changes_the_order_and_is_zero_by_default(sea, two):
    default, zero, one = (
        sea("mix", *two, "--unit", "docs", *more).stdout for more in ([], ["--seed", 0], ["--seed", 1])
    )
    assert default == zero != one and sorted(zero.splitlines()) == sorted(one.splitlines())


def test_every_epoch_has_an_order_of_its_own(sea, two):
    output = texts(sea("mix", two[0], "--unit", "docs", "--max-epochs", 2).stdout)
    assert output[:10] != output[10:] and sorted(output[:10]) == sorted(output[10:])


def test_shuffle_none_keeps_the_order_of_sorted_files(sea, tmp_path):
    write_records(tmp_path / "2.jsonl", ["c"])
    write_records(tmp_path / "1.jsonl", ["a", "b"])
    assert texts(sea("mix", f"a={tmp_path}/*.jsonl", "--unit", "docs", "--shuffle", "none").stdout) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["a=a.jsonl"], 2, "--unit tokens needs a tokenizer"),
        (["a=a.jsonl", "--unit", "loss-tokens"], 2, "--unit loss-tokens needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8", "-o", "x"], 2, "--pack needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8"], 2, "-o FILE.safetensors"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8", "-o", "x.gz"], 2, "-o FILE.safetensors"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8", "-o", "x.jsonl"], 2, "-o FILE.safetensors"),
        (["a=a.jsonl", "--unit", "docs", "--chat-template", "c"], 2, "--chat-template needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--pattern", "gpt2"], 2, "--pattern needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--json"], 2, "--dry-run"),
        (["a=a.jsonl", "--unit", "docs", "--on-exhaust", "error"], 2, "needs a budget"),
        (["a=a.jsonl", "--unit", "docs", "--budget", "0"], 2, "at least 1"),
        (["a=a.jsonl", "--unit", "docs", "--budget", "lots"], 2, "not a size"),
        (["a=a.jsonl", "--unit", "docs", "--max-epochs", "0"], 2, "max-epochs"),
        (["a=a.jsonl", "--unit", "lines"], 2, "--unit"),
        (["a=a.jsonl", "a=b.jsonl", "--unit", "docs"], 2, "two sources are named a"),
        (["a=a.jsonl:0", "--unit", "docs"], 2, "greater than 0"),
        (["a=nowhere.jsonl", "--unit", "docs"], 1, "nowhere.jsonl: no such file"),
        (["a=*.nowhere", "--unit", "docs"], 1, "no file matches"),
        (["a=a.jsonl", "--tokenizer", "nowhere"], 1, "nowhere"),
        (["a=empty.jsonl", "--unit", "docs"], 1, "source a: empty.jsonl: no document"),
        (["a=broken.jsonl", "--unit", "docs"], 1, "broken.jsonl:1: broken JSON"),
        (["a=broken.jsonl", "--unit", "docs", "--on-error", "skip"], 1, "no document, only 2 rejected lines"),
        (["a=a.jsonl", "--unit", "docs", "-o", "a.jsonl", "--force"], 2, "both input and output"),
        (["a=a.jsonl", "--unit", "docs", "-o", "empty.jsonl"], 2, "exists"),
        (["a=a.jsonl", "--unit", "docs", "-o", "no/folder.jsonl"], 2, "no such folder"),
        (["a=-", "--unit", "docs", "--on-error", "quarantine"], 2, "--quarantine FILE"),
        (["a=prefs.jsonl", "--unit", "docs"], 1, "prefs.jsonl:1: preference data (chosen, rejected)"),
        (["a=mixed.jsonl", "--tokenizer", "TOK"], 1, "mixed.jsonl:2: a chat record needs a chat template"),
        (["a=a.jsonl:2", "--unit", "docs", "--temperature", "2"], 2, "source a has one of its own"),
        (["a=a.jsonl:2", "--unit", "docs", "--unimax", "--budget", "9"], 2, "source a has one of its own"),
        (["a=a.jsonl", "--unit", "docs", "--unimax"], 2, "--unimax needs a budget"),
        (["a=a.jsonl", "--unit", "docs", "--unimax", "--temperature", "2"], 2, "both make the weights"),
        (["a=a.jsonl", "--unit", "docs", "--temperature", "nan"], 2, "between 0.1 and"),
        (["a=a.jsonl", "--unit", "docs", "--join-turns", "1"], 2, "--join-turns"),
        (["a=a.jsonl", "--unit", "docs", "--per-group-cap", "1"], 2, "--balance lang"),
        (["a=a.jsonl", "--unit", "docs", "--balance", "lang"], 1, 'have no "lang"'),
        (["--plan", "no.toml", "--unit", "docs"], 2, "no.toml: No such file"),
        ([], 2, "missing argument"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    sea, tmp_path, monkeypatch, byte_tokenizer, options, code, message
):
    monkeypatch.chdir(tmp_path)
    options = [byte_tokenizer if option == "TOK" else option for option in options]
    chat = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    (tmp_path / "mixed.jsonl").write_bytes(b'{"text": "one"}\n' + chat)
    (tmp_path / "prefs.jsonl").write_bytes(b'{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    write_records(tmp_path / "a.jsonl", ["one"])
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    (tmp_path / "broken.jsonl").write_bytes(b"{\n[]\n")
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    result = sea("mix", *options)
    assert (result.code, result.stdout) == (code, b"") and message in result.stderr
    kept = [name for name in os.listdir(tmp_path) if not name.endswith(".sea-index")]
    assert {name: (tmp_path / name).read_bytes() for name in kept} == before


def test_a_file_in_two_sources_is_told_of(sea, tmp_path):
    path = write_records(tmp_path / "a.jsonl", ["one"])
    result = sea("mix", f"a={path}", f"b={tmp_path}/*.jsonl", "--unit", "docs")
    assert result.code == 0 and f"{path} is in source a and in source b" in result.stderr
