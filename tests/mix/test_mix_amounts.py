"""How much of each source comes out of `sea mix`: weights, epochs, budgets, tokens."""

from __future__ import annotations

from collections import Counter

from mix_sources import plan_rows, texts, write_records


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
    plan = plan_rows(sea("mix", f"{two[0]}:1", f"{two[1]}:3", "--unit", "bytes", "--budget", 32, "--dry-run"))
    assert plan["a"]["emitted"] == 8 and plan["b"]["emitted"] == 24
    assert (plan["a"]["share"], plan["b"]["share"]) == (0.25, 0.75)
    plan = plan_rows(sea("mix", f"{two[0]}:1", f"{two[1]}:3", "--unit", "docs", "--budget", 12, "--dry-run"))
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
    plan = plan_rows(sea("mix", *two, "--unit", "bytes", "--temperature", 1, "--dry-run"))
    assert [row["emitted_docs"] for row in plan.values()] == [10, 10]
    plan = plan_rows(sea("mix", *two, "--unit", "bytes", "--temperature", 2, "--dry-run"))
    assert [row["weight"] for row in plan.values()] == [0.707107, 1.0]


def test_unimax_gives_what_a_small_source_cannot_fill_to_the_others(sea, tmp_path, two):
    small = write_records(tmp_path / "c.jsonl", ["cc"])
    options = ["--unit", "bytes", "--unimax", "--budget", 60, "--dry-run"]
    result = sea("mix", f"c={small}", f"{two[0]}:@3", two[1], *options)
    plan = plan_rows(result)
    assert {name: row["emitted"] for name, row in plan.items()} == {"c": 8, "a": 26, "b": 28}
    assert [row["target_share"] for row in plan.values()] == [0.133333, 0.433333, 0.433333]
    assert plan["c"]["epochs"] == 4.0 and "used up" not in result.stderr


def test_every_window_is_within_its_share(sea, tmp_path):
    for name, length in (("a", 1000), ("b", 4000)):
        write_records(tmp_path / f"{name}.jsonl", [name * (length + i % 100) for i in range(50)])
    sources = [f"a={tmp_path / 'a.jsonl'}:1", f"b={tmp_path / 'b.jsonl'}:3"]
    options = ["--unit", "bytes", "--budget", "3M", "--max-epochs", 99, "--dry-run"]
    result = sea("mix", *sources, *options)
    rows = plan_rows(result)
    assert 0 < rows["b"]["window_deviation"] == rows["a"]["window_deviation"] < 0.004  # 4,100 of a million
    assert "in windows of a million bytes shares are within 0." in result.stderr


def test_limit_reads_so_many_records_of_each_source(sea, two):
    plan = plan_rows(sea("mix", *two, "--unit", "docs", "--limit", 3, "--dry-run"))
    assert [row["docs"] for row in plan.values()] == [3, 3]


def test_tokens_are_counted_with_bos_and_eos(sea, two, byte_tokenizer):
    plan = plan_rows(sea("mix", *two, "--tokenizer", byte_tokenizer, "--dry-run"))
    assert (plan["a"]["tokens"], plan["a"]["loss_tokens"], plan["b"]["tokens"]) == (40, 30, 60)
    assert (plan["a"]["bytes"], plan["a"]["bytes_per_token"]) == (20, 0.5)
    assert (plan["a"]["emitted"], plan["b"]["emitted"]) == (40, 42)


def test_loss_tokens_are_those_that_are_trained(sea, tmp_path, byte_tokenizer):
    # "abc" and </s>; never <s> nor the prompt.
    (tmp_path / "p.jsonl").write_bytes(b'{"prompt": "question", "completion": "abc"}\n' * 4)
    text = write_records(tmp_path / "t.jsonl", ["1234567"] * 4)
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
    plan = plan_rows(result)
    assert (plan["p"]["loss_tokens"], plan["p"]["tokens"], plan["t"]["loss_tokens"]) == (16, 52, 32)
    assert (plan["p"]["emitted_docs"], plan["t"]["emitted_docs"]) == (4, 2)


def test_chat_is_counted_through_the_template(sea, tmp_path, byte_tokenizer, template_path):
    chat = tmp_path / "chat.jsonl"
    chat.write_bytes(b'{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "xyz"}]}')
    options = ["--tokenizer", byte_tokenizer, "--chat-template", template_path, "--dry-run"]
    plan = plan_rows(sea("mix", f"c={chat}", *options))
    # <s> <|user|> a b <|end|> <|assistant|> x y z <|end|>
    assert (plan["c"]["tokens"], plan["c"]["loss_tokens"], plan["c"]["bytes"]) == (10, 4, 5)
    without = sea("mix", f"c={chat}", "--tokenizer", byte_tokenizer, "--on-error", "skip")
    assert without.code == 1 and "needs a chat template" in without.stderr and "--chat-template" in without.stderr


def test_chat_needs_no_template_where_tokens_do_not_count(sea, tmp_path):
    (tmp_path / "c.jsonl").write_bytes(b'{"messages": [{"role": "user", "content": "ab"}]}')
    assert plan_rows(sea("mix", f"c={tmp_path / 'c.jsonl'}", "--unit", "bytes", "--dry-run"))["c"]["bytes"] == 2
