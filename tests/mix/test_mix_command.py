"""`sea mix` from the command line: what comes out, in which amounts, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter

import orjson
import pytest
import zstandard

ODD_LINES = [
    b'{ "text" : "spaces" , "n": 1.0e3 }',
    b'{"n": 123456789012345678901234567890, "text": "big \\u0041"}',
    b'{"text": "double", "text": "keys", "\\u00e9": null}',
    b'\t{"text": "tab before"}',
]


def write(path, texts, **more):
    """A JSONL file of text records."""
    path.write_bytes(b"".join(orjson.dumps({"text": text, **more}) + b"\n" for text in texts))
    return path


def texts(output: bytes) -> list[str]:
    return [json.loads(line)["text"] for line in output.splitlines()]


@pytest.fixture
def two(tmp_path):
    """Ten documents "a0"... of 2 bytes, and ten of "bbb0"... of 4."""
    a = write(tmp_path / "a.jsonl", [f"a{i}" for i in range(10)])
    return f"a={a}", f"b={write(tmp_path / 'b.jsonl', [f'bbb{i}' for i in range(10)])}"


def plan_of(result) -> dict[str, dict]:
    assert result.code == 0, result.stderr
    return {row["source"]: row for row in map(json.loads, result.stdout.splitlines())}


# What comes out


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
    text = write(tmp_path / "text.jsonl", ["abcd", "efgh"])
    result = sea("mix", f"text={text}", f"chat={tmp_path / 'chat.jsonl'}", "--unit", "bytes", "--shuffle", "none")
    assert result.stdout.splitlines() == [b'{"text":"abcd"}', chat[0], b'{"text":"efgh"}', chat[1]]


def test_compressed_output_holds_the_same(sea, tmp_path, two):
    plain = sea("mix", *two, "--unit", "bytes").stdout
    assert sea("mix", *two, "--unit", "bytes", "-o", tmp_path / "out.jsonl.gz").code == 0
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == plain


def test_workers_change_nothing(sea, tmp_path, two, byte_tokenizer):
    many = write(tmp_path / "many.jsonl", [f"{i} " * (i % 7 + 1) for i in range(1500)])
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
    write(tmp_path / "2.jsonl", ["c"])
    write(tmp_path / "1.jsonl", ["a", "b"])
    assert texts(sea("mix", f"a={tmp_path}/*.jsonl", "--unit", "docs", "--shuffle", "none").stdout) == ["a", "b", "c"]


# How much of each


def test_without_a_budget_the_mix_ends_where_the_first_source_is_used_up(sea, two):
    # 1:1 by bytes: all of b is 40 bytes, all of a 20; so all of a and half of b.
    assert Counter(text[0] for text in texts(sea("mix", *two, "--unit", "bytes").stdout)) == {"a": 10, "b": 5}


def test_more_epochs_without_a_budget_repeat_the_sources_up_to_them(sea, two):
    output = texts(sea("mix", *two, "--unit", "bytes", "--max-epochs", 2).stdout)
    assert Counter(text[0] for text in output) == {"a": 20, "b": 10}


def test_a_cap_of_its_own_goes_before_the_common_one(sea, two):
    output = texts(sea("mix", f"{two[0]}:1@3", two[1], "--unit", "bytes", "--max-epochs", 9).stdout)
    assert Counter(text[0] for text in output) == {"a": 30, "b": 15}


def test_a_budget_allows_four_epochs(sea, two):
    output = texts(sea("mix", two[0], "--unit", "docs", "--budget", 35).stdout)
    assert len(output) == 35 and max(Counter(output).values()) == 4
    short = sea("mix", two[0], "--unit", "docs", "--budget", 50)
    assert len(texts(short.stdout)) == 40 and "budget is not reached: 40 of 50 docs" in short.stderr


def test_weights_are_of_the_unit(sea, two):
    plan = plan_of(sea("mix", f"{two[0]}:1", f"{two[1]}:3", "--unit", "bytes", "--budget", 32, "--dry-run"))
    assert plan["a"]["emitted"] == 8 and plan["b"]["emitted"] == 24
    assert (plan["a"]["share"], plan["b"]["share"]) == (0.25, 0.75)
    plan = plan_of(sea("mix", f"{two[0]}:1", f"{two[1]}:3", "--unit", "docs", "--budget", 12, "--dry-run"))
    assert (plan["a"]["emitted_docs"], plan["b"]["emitted_docs"]) == (3, 9)


def test_renormalize_goes_on_without_the_source_that_ran_out(sea, two):
    result = sea("mix", *two, "--unit", "bytes", "--on-exhaust", "renormalize")
    assert Counter(text[0] for text in texts(result.stdout)) == {"a": 10, "b": 10}
    assert "source a is used up (1 epoch); the others go on" in result.stderr


def test_error_fails_before_anything_is_written(sea, tmp_path, two):
    out = tmp_path / "out.jsonl"
    result = sea("mix", *two, "--unit", "bytes", "--on-exhaust", "error", "--budget", 1000, "-o", out)
    assert (
        result.code == 1
        and "the budget of 1,000 bytes ends at 160: source a is used up (4 epochs)" in result.stderr
        and not out.exists()
    )
    enough = sea("mix", *two, "--unit", "bytes", "--on-exhaust", "error", "--budget", 160, "-o", out)
    assert enough.code == 0 and len(out.read_bytes().splitlines()) == 60


def test_a_budget_beyond_the_caps_says_what_it_would_take(sea, two):
    short = sea("mix", *two, "--unit", "bytes", "--budget", 1000)
    assert (
        "the budget is not reached: 160 of 1,000 bytes, because source a is used up (4 epochs); "
        "the budget would take 500 bytes of it (25.0 epochs)"
    ) in short.stderr
    unequal = sea("mix", *two, "--unit", "bytes", "--on-exhaust", "renormalize", "--budget", 200)
    assert "source a is used up (4 epochs); the others go on without it; the budget would take 100" in unequal.stderr


def test_temperature_weighs_by_size(sea, two):
    # b has twice the bytes of a: 1/sqrt(2) at T = 2, and nothing but the sizes at T = 1.
    plan = plan_of(sea("mix", *two, "--unit", "bytes", "--temperature", 1, "--dry-run"))
    assert [row["emitted_docs"] for row in plan.values()] == [10, 10]
    plan = plan_of(sea("mix", *two, "--unit", "bytes", "--temperature", 2, "--dry-run"))
    assert [row["weight"] for row in plan.values()] == [0.707107, 1.0]


def test_unimax_gives_what_a_small_source_cannot_fill_to_the_others(sea, tmp_path, two):
    small = write(tmp_path / "c.jsonl", ["cc"])
    options = ["--unit", "bytes", "--unimax", "--budget", 60, "--dry-run"]
    result = sea("mix", f"c={small}", f"{two[0]}:@3", two[1], *options)
    plan = plan_of(result)
    assert {name: row["emitted"] for name, row in plan.items()} == {"c": 8, "a": 26, "b": 28}
    assert [row["target_share"] for row in plan.values()] == [0.133333, 0.433333, 0.433333]
    assert plan["c"]["epochs"] == 4.0 and "used up" not in result.stderr


def test_every_window_is_within_its_share(sea, tmp_path):
    for name, length in (("a", 1000), ("b", 4000)):
        write(tmp_path / f"{name}.jsonl", [name * (length + i % 100) for i in range(50)])
    sources = [f"a={tmp_path / 'a.jsonl'}:1", f"b={tmp_path / 'b.jsonl'}:3"]
    options = ["--unit", "bytes", "--budget", "3M", "--max-epochs", 99, "--dry-run"]
    result = sea("mix", *sources, *options)
    rows = plan_of(result)
    assert 0 < rows["b"]["window_deviation"] == rows["a"]["window_deviation"] < 0.004  # 4,100 of a million
    assert "in every window of a million bytes shares are within 0." in result.stderr


def test_limit_reads_so_many_records_of_each_source(sea, two):
    plan = plan_of(sea("mix", *two, "--unit", "docs", "--limit", 3, "--dry-run"))
    assert [row["docs"] for row in plan.values()] == [3, 3]


# Tokens


def test_tokens_are_counted_with_bos_and_eos(sea, two, byte_tokenizer):
    plan = plan_of(sea("mix", *two, "--tokenizer", byte_tokenizer, "--dry-run"))
    assert (plan["a"]["tokens"], plan["a"]["loss_tokens"], plan["b"]["tokens"]) == (40, 30, 60)
    assert (plan["a"]["bytes"], plan["a"]["bytes_per_token"]) == (20, 0.5)
    assert (plan["a"]["emitted"], plan["b"]["emitted"]) == (40, 42)


def test_loss_tokens_are_those_that_are_trained(sea, tmp_path, byte_tokenizer):
    # "abc" and </s>; never <s> nor the prompt.
    (tmp_path / "p.jsonl").write_bytes(b'{"prompt": "question", "completion": "abc"}\n' * 4)
    text = write(tmp_path / "t.jsonl", ["1234567"] * 4)
    result = sea(
        "mix",
        f"p={tmp_path / 'p.jsonl'}",
        f"t={text}",
        "--tokenizer",
        byte_tokenizer,
        "--unit",
        "loss-tokens",
        "--dry-run",
    )
    plan = plan_of(result)
    assert (plan["p"]["loss_tokens"], plan["p"]["tokens"], plan["t"]["loss_tokens"]) == (16, 52, 32)
    assert (plan["p"]["emitted_docs"], plan["t"]["emitted_docs"]) == (4, 2)


def test_chat_is_counted_through_the_template(sea, tmp_path, byte_tokenizer, template_path):
    chat = tmp_path / "chat.jsonl"
    chat.write_bytes(b'{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "xyz"}]}')
    options = ["--tokenizer", byte_tokenizer, "--chat-template", template_path, "--dry-run"]
    plan = plan_of(sea("mix", f"c={chat}", *options))
    # <s> <|user|> a b <|end|> <|assistant|> x y z <|end|>
    assert (plan["c"]["tokens"], plan["c"]["loss_tokens"], plan["c"]["bytes"]) == (10, 4, 5)
    without = sea("mix", f"c={chat}", "--tokenizer", byte_tokenizer, "--on-error", "skip")
    assert without.code == 1 and "needs a chat template" in without.stderr and "--chat-template" in without.stderr


def test_chat_needs_no_template_where_tokens_do_not_count(sea, tmp_path):
    (tmp_path / "c.jsonl").write_bytes(b'{"messages": [{"role": "user", "content": "ab"}]}')
    assert plan_of(sea("mix", f"c={tmp_path / 'c.jsonl'}", "--unit", "bytes", "--dry-run"))["c"]["bytes"] == 2


# The plan


def test_a_dry_run_writes_nothing(sea, tmp_path, two):
    before = sorted(os.listdir(tmp_path))
    broken = tmp_path / "a.jsonl"
    broken.write_bytes(broken.read_bytes() + b"{\n")
    result = sea(
        "mix", *two, "--unit", "docs", "-o", tmp_path / "out.jsonl", "--on-error", "quarantine", "--dry-run", "--json"
    )
    assert sorted(os.listdir(tmp_path)) == before
    assert plan_of(result)["a"] == {
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
    decomposed = write(tmp_path / "vi.jsonl", ["tie\u0302\u0301ng Vie\u0323\u0302t", "abc", "def", "ghi"])
    result = sea("mix", f"vi={decomposed}", "--unit", "docs")
    assert "source vi: 25% of 4 sampled documents are not in Unicode form NFC" in result.stderr
    assert result.stdout.count("e\u0302\u0301".encode()) == 1


def test_a_tokenizer_that_does_not_know_the_script_is_told_of(sea, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0)).save(str(tmp_path / "tokenizer.json"))
    th = write(tmp_path / "th.jsonl", ["ก ข ค ab", "ab"])
    ab = write(tmp_path / "ab.jsonl", ["abab"])
    result = sea("mix", f"th={th}", f"ab={ab}", "--tokenizer", tmp_path / "tokenizer.json")
    assert "source th: the tokenizer turns" in result.stderr and "of its tokens into <unk>" in result.stderr
    assert "source ab" not in result.stderr


def test_a_tokenizer_that_loses_the_text_is_an_error_unless_allowed(sea, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0)).save(str(tmp_path / "tokenizer.json"))
    th = write(tmp_path / "th.jsonl", ["ก a ข b ค a", "ab"])
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


def test_a_record_that_cannot_be_tokenised_is_a_reject(sea, tmp_path, byte_tokenizer, template_path):
    chat = tmp_path / "chat.jsonl"
    good = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
    chat.write_bytes(good + b'\n{"messages": [{"role": "user", "content": "q"}]}\n')
    options = [f"c={chat}", "--tokenizer", byte_tokenizer, "--chat-template", template_path]
    failed = sea("mix", *options)
    assert failed.code == 1 and failed.stdout == b"" and f"{chat}:2: nothing to train" in failed.stderr
    skipped = sea("mix", *options, "--on-error", "skip")
    assert skipped.stdout == good + b"\n" and "1 rejected (nothing to train 1)" in skipped.stderr


# What is refused


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["a=a.jsonl"], 2, "--unit tokens needs a tokenizer"),
        (["a=a.jsonl", "--unit", "loss-tokens"], 2, "--unit loss-tokens needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8", "-o", "x"], 2, "--pack needs a tokenizer"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8"], 2, "-o FILE.safetensors"),
        (["a=a.jsonl", "--unit", "docs", "--pack", "8", "-o", "x.gz"], 2, "-o FILE.safetensors"),
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
    write(tmp_path / "a.jsonl", ["one"])
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    (tmp_path / "broken.jsonl").write_bytes(b"{\n[]\n")
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    result = sea("mix", *options)
    assert (result.code, result.stdout) == (code, b"") and message in result.stderr
    kept = [name for name in os.listdir(tmp_path) if not name.endswith(".sea-index")]
    assert {name: (tmp_path / name).read_bytes() for name in kept} == before


def test_a_file_in_two_sources_is_told_of(sea, tmp_path):
    path = write(tmp_path / "a.jsonl", ["one"])
    result = sea("mix", f"a={path}", f"b={tmp_path}/*.jsonl", "--unit", "docs")
    assert result.code == 0 and f"{path} is in source a and in source b" in result.stderr


def test_other_units_show_what_they_become_in_tokens(sea, two, byte_tokenizer):
    result = sea("mix", *two, "--tokenizer", byte_tokenizer, "--unit", "docs", "--dry-run")
    lines = result.stderr.splitlines()
    assert lines[0].split()[-5:] == ["emitted", "docs", "share", "emitted", "tokens"]
    assert [line.split()[-2:] for line in lines[1:3]] == [["50.00%", "40"], ["50.00%", "60"]]
