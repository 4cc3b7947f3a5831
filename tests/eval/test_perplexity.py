"""Bits per byte: every text token once, BOS as context only, the error bar of a ratio of sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from asked_model import requests, scores
from hypothesis import given
from hypothesis import strategies as st
from tiny_eval import records
from tiny_llama import BOS, EOS, write_tokenizer

from seatools.engine.text_windows import window_document, windows
from seatools.eval.figures import ratio_stderr
from seatools.eval.requests import Setup
from seatools.eval.sources import Source
from seatools.eval.text_requests import byte_windows
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord

THAI, ENGLISH = "แมวอยู่บนเสื่อ", "the cat is on the mat"


def source_of(*texts: str, lang: str = "th") -> Source:
    return Source(lang, ("data.jsonl",), records(*({"text": text} for text in texts)))


def score(model: Any, setup: Setup, *texts: str, lang: str = "th") -> dict[str, Any]:
    return scores(model, requests("perplexity", [source_of(*texts, lang=lang)], setup), setup)["bits_per_byte"]


def by_hand(log_probs: Callable[[list[int]], torch.Tensor], setup: Setup, texts: Sequence[str]) -> tuple[list, list]:
    nats = [-float(log_probs([BOS, *setup.tokenizer.encode(text)]).sum()) for text in texts]
    return nats, [len(text.encode()) for text in texts]


def test_equals_full_logits_of_each_document_alone(model, setup_of, log_probs):
    nats, num_bytes = by_hand(log_probs, setup_of(), [THAI, ENGLISH])
    found = score(model, setup_of(), THAI, ENGLISH)
    assert found["metric"] == "bits_per_byte" and found["n"] == 2
    assert found["value"] == pytest.approx(sum(nats) / math.log(2) / sum(num_bytes), rel=1e-6)


def test_counts_tokens_and_bytes_of_the_text_as_given(model, setup_of):
    config = score(model, setup_of(), THAI, ENGLISH)["config"]
    assert (config["tokens"], config["bytes"]) == (63, 63)  # 14 x 3 + 21, one token a byte, no BOS and no EOS
    assert (config["bytes_per_token"], config["round_trip_failures"], config["context_token"]) == (1.0, 0, "<s>")


def test_batching_changes_nothing(model, setup_of):
    texts = [ENGLISH * n for n in (1, 2, 7, 3, 1)] + [THAI]
    one, many = (score(model, setup_of(batch_tokens=tokens), *texts) for tokens in (1, 100_000))
    assert one["value"] == pytest.approx(many["value"], rel=1e-6)


def test_a_document_that_fits_needs_no_window(model, setup_of):
    whole, tight = setup_of(), setup_of(seq_len=len(ENGLISH) + 1)
    assert score(model, tight, ENGLISH)["value"] == pytest.approx(score(model, whole, ENGLISH)["value"], rel=1e-6)


def test_a_long_document_is_read_in_overlapping_windows(model, setup_of, log_probs):
    ids = setup_of().tokenizer.encode(ENGLISH)  # 21 tokens, windows of BOS + 8 that step by 3
    nats = -float(log_probs([BOS, *ids[:8]]).sum())
    for end, scored in ((11, 3), (14, 3), (17, 3), (20, 3), (21, 1)):
        nats -= float(log_probs([BOS, *ids[end - 8 : end]])[-scored:].sum())
    found = score(model, setup_of(seq_len=9, stride=3), ENGLISH)
    assert found["value"] == pytest.approx(nats / math.log(2) / 21, rel=1e-6)
    assert (found["config"]["seq_len"], found["config"]["stride"]) == (9, 3)


@given(st.integers(1, 300), st.integers(2, 40), st.data())
def test_windows_score_each_token_exactly_once(num_tokens, window, data):
    stride = data.draw(st.integers(1, window - 1))
    scored = []
    for start, end, last in windows(num_tokens, window, stride):
        assert end - start + 1 <= window
        assert start == 0 or end - last - start >= window - 1 - stride  # context besides the context token
        scored += range(end - last, end)
    assert scored == list(range(num_tokens))


def test_a_window_trains_its_last_tokens_and_never_the_context():
    ids, mask = window_document(np.arange(10), (4, 9, 2), BOS)
    assert ids.tolist() == [BOS, 4, 5, 6, 7, 8]
    assert mask.tolist() == [0, 0, 0, 0, 1, 1]


def test_one_document_has_no_stderr(model, setup_of):
    assert score(model, setup_of(), ENGLISH)["stderr"] is None


def test_texts_that_a_normaliser_changes_are_counted(shared, model, setup_of, capsys):
    from dataclasses import replace

    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    documents = Documents(load_tokenizer(shared / "models" / "stories260K"), None, add_eos=False)
    setup = replace(setup_of(), documents=documents)
    asked = requests("perplexity", [source_of("a cat", " a cat", "a  cat ", "a\ufffecat")], setup)
    came = [request.result(np.zeros(1)).get("round_trip_failure") for request in asked]
    assert came[:3] == [None, "other spaces", "other spaces"]
    assert "do not survive" in capsys.readouterr().err


def test_text_that_is_not_nfc_is_warned_about_and_left_alone(model, setup_of, capsys):
    found = score(model, setup_of(), "a\u0301", lang="vi")
    assert found["config"]["bytes"] == 3  # composed it would be 2
    assert "1 of 1 texts are not in NFC" in capsys.readouterr().err


def test_eos_stands_before_a_text_where_there_is_no_bos(model, setup_of, tmp_path, log_probs):
    from dataclasses import replace

    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    write_tokenizer(tmp_path, names=("eos",))
    setup = replace(setup_of(), documents=Documents(load_tokenizer(tmp_path), None, add_eos=False))
    nats = -float(log_probs([EOS, *setup.tokenizer.encode(ENGLISH)]).sum())
    assert score(model, setup, ENGLISH)["value"] == pytest.approx(nats / math.log(2) / 21, rel=1e-6)


def test_neither_bos_nor_eos_is_an_error_with_a_remedy(model, setup_of, tmp_path):
    from dataclasses import replace

    from seatools.text.tokenizer import load_tokenizer

    write_tokenizer(tmp_path, names=())
    from seatools.text.documents import Documents

    with pytest.raises(SeaError, match="neither a BOS nor an EOS.*tokenizer_config.json"):
        score(model, replace(setup_of(), documents=Documents(load_tokenizer(tmp_path), None)), ENGLISH)


@pytest.mark.parametrize("value", [{"body": "x"}, {"text": 3}, {"text": " "}])
def test_records_without_text_are_named_by_line(setup_of, value):
    source = Source("th", ("data.jsonl",), records({"text": "good"}, value))
    with pytest.raises(BadRecord) as caught:
        requests("perplexity", [source], setup_of())
    assert caught.value.where == "data.jsonl:2"


@pytest.mark.parametrize("options", [{"seq_len": 161}, {"seq_len": 8, "stride": 8}, {"seq_len": 1}, {"stride": 0}])
def test_windows_that_cannot_be_are_refused(model, setup_of, options):
    with pytest.raises(UsageError):
        score(model, setup_of(**options), ENGLISH)


def test_the_samples_hold_nats_and_bytes_of_each_document(model, setup_of, log_probs):
    from asked_model import samples

    nats, num_bytes = by_hand(log_probs, setup_of(), [THAI, ENGLISH])
    found = samples(model, requests("perplexity", [source_of(THAI, ENGLISH)], setup_of()), setup_of())
    assert [one.result["nats"] for one in found] == pytest.approx(nats, rel=1e-5)
    assert [one.result["bytes"] for one in found] == num_bytes


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(16, 40))
def test_windows_by_bytes_score_each_token_once_and_keep_to_their_bytes(lengths, context):
    scored = []
    for start, end, last in byte_windows(lengths, context):
        assert sum(lengths[start:end]) <= context
        if scored:  # half of the bytes, but for what one token more would have been too much
            assert sum(lengths[start : end - last]) >= context - context // 2 - max(lengths) or start == 0
        scored += range(end - last, end)
    assert scored == list(range(len(lengths)))


def test_equal_bytes_of_context_whatever_the_tokenizer(model, setup_of):
    by_bytes, by_tokens = setup_of(context_bytes=20), setup_of(seq_len=21, stride=10)  # one token a byte
    found = score(model, by_bytes, ENGLISH * 3)
    assert found["value"] == pytest.approx(score(model, by_tokens, ENGLISH * 3)["value"], rel=1e-6)
    assert found["config"]["context_bytes"] == 20 and "seq_len" not in found["config"]


def test_parity_is_the_ratio_of_nats_on_parallel_text(model, setup_of):
    from asked_model import samples

    from seatools.eval.report import score_records

    setup = setup_of(reference="en")
    asked = requests("perplexity", [source_of(THAI, "ฝนตก"), source_of(ENGLISH, "it rains", lang="en")], setup)
    found = samples(model, asked, setup)
    row = next(row for row in score_records(found, setup.options) if row["metric"] == "parity")
    thai, english = ([one.result["nats"] for one in found if one.lang == lang] for lang in ("th", "en"))
    assert (row["lang"], row["n"], row["config"]["reference"]) == ("th", 2, "en")
    assert row["value"] == pytest.approx(sum(english) / sum(thai), rel=1e-12)
    assert row["stderr"] == ratio_stderr(np.array(english), np.array(thai))


def test_a_model_that_gives_nan_is_an_error(model, setup_of):
    with torch.no_grad():
        kept = model.model.norm.weight.clone()
        model.model.norm.weight.fill_(float("nan"))
        try:
            with pytest.raises(SeaError, match="not finite") as caught:
                score(model, setup_of(), ENGLISH)
        finally:
            model.model.norm.weight.copy_(kept)
    assert caught.value.where == "data.jsonl:1"
