"""From preference records to tokens: what is trained, what both sides share, what is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import write_jsonl

from seatools.dpo.pairs import Pair, load_pairs, pairs_digest, read_pairs, save_pairs
from seatools.streams.records import BadRecord, Rejects
from seatools.text.chat import load_chat_template
from seatools.text.documents import Documents, TokenizedDoc
from seatools.text.tokenizer import load_tokenizer


def pairs_of(model_path: Path, prefs: Path, **options: Any) -> list[Pair]:
    documents = Documents(load_tokenizer(model_path), load_chat_template(model_path))
    settings: dict[str, Any] = dict(max_length=100, rejects=Rejects(), limit=None)
    return read_pairs([str(prefs)], documents, **(settings | options))


def text_of(model_path: Path, ids: np.ndarray) -> str:
    return load_tokenizer(model_path).decode(ids.tolist(), skip_special=False)


def test_only_the_answer_is_trained_and_both_sides_share_the_prompt(model_path: Path, prefs: Path) -> None:
    pair = pairs_of(model_path, prefs)[0]
    for doc, answer in ((pair.chosen, " 4</s>"), (pair.rejected, " five</s>")):
        assert text_of(model_path, doc.ids[doc.loss_mask == 1]) == answer
        assert text_of(model_path, doc.ids[doc.loss_mask == 0]) == "<s>2+2="
    assert text_of(model_path, pair.chosen.ids[: pair.shared]) == "<s>2+2="


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (([1, 5, 6, 7], [0, 0, 1, 1]), ([1, 5, 8], [0, 0, 1]), 2),
        (([1, 5, 6, 7], [0, 0, 1, 1]), ([1, 5, 6, 9], [0, 0, 1, 1]), 2),  # what is equal and trained is no prompt
        (([1, 5, 6], [0, 0, 1]), ([1, 5, 6, 7], [0, 0, 0, 1]), 2),
        (([4, 5], [0, 1]), ([3, 5], [0, 1]), 0),
    ],
)
def test_what_is_shared_is_equal_and_trained_in_neither(one: Any, other: Any, shared: int) -> None:
    docs = [TokenizedDoc(np.array(ids, np.uint32), np.array(mask, np.uint8)) for ids, mask in (one, other)]
    assert Pair(*docs).shared == shared == Pair(*docs[::-1]).shared


def test_messages_strings_and_conversations_are_the_same_pair(model_path: Path, tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    answers = {key: [{"role": "assistant", "content": text}] for key, text in (("chosen", "Hello"), ("rejected", "Go"))}
    forms = [
        {"prompt": prompt, "chosen": "Hello", "rejected": "Go"},
        {"prompt": prompt, **answers},
        {key: [*prompt, *answer] for key, answer in answers.items()},
    ]
    pairs = pairs_of(model_path, write_jsonl(tmp_path / "p.jsonl", forms))
    assert text_of(model_path, pairs[0].chosen.ids) == "<s><|system|>Be kind.<|user|>Hi<|assistant|>Hello</s>"
    assert len({pairs_digest([pair]) for pair in pairs}) == 1


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "a", "chosen": "same", "rejected": "same"}, "identical answers"),
        ({"prompt": "a", "chosen": "x" * 99, "rejected": "y"}, "too long"),
        ({"prompt": "a", "chosen": "x", "rejected": "y" * 99}, "too long"),
        ({"prompt": "a" * 100, "chosen": "x", "rejected": "y"}, "prompt too long"),
        ({"prompt": "a", "chosen": "x", "rejected": "  "}, "empty answer"),
        ({"prompt": "a", "chosen": "x"}, "no rejected"),
        ({"chosen": "x", "rejected": "y"}, "prompts differ"),
        ({"prompt": [{"role": "user"}], "chosen": "x", "rejected": "y"}, "bad prompt"),
    ],
)
def test_a_pair_that_teaches_nothing_is_a_reject_with_its_line(
    model_path: Path, tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    prefs = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a", "chosen": "x", "rejected": "y"}, record])
    with pytest.raises(BadRecord) as caught:
        pairs_of(model_path, prefs)
    assert caught.value.reason == reason and str(caught.value).startswith(f"{prefs}:2: ")
    rejects = Rejects("skip")
    assert len(pairs_of(model_path, prefs, rejects=rejects)) == 1
    assert rejects.counts == {reason: 1}


def test_messages_without_a_template_and_dropped_system_turns_are_rejects(model_path: Path, tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    prefs = write_jsonl(tmp_path / "p.jsonl", [{"prompt": turns, "chosen": "x", "rejected": "y"}])
    tokenizer = load_tokenizer(model_path)
    (tmp_path / "t.jinja").write_text("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}")
    template = load_chat_template(tmp_path / "t.jinja", tokenizer_path=model_path)
    for documents, words in (
        (Documents(tokenizer), "needs a chat template"),
        (Documents(tokenizer, template), "system"),
    ):
        with pytest.raises(BadRecord, match=words) as caught:
            read_pairs([str(prefs)], documents, max_length=100, rejects=Rejects(), limit=None)
        assert str(caught.value).startswith(f"{prefs}:1: ") and caught.value.fix


def test_languages_are_those_of_records_else_of_the_source(model_path: Path, tmp_path: Path) -> None:
    records = [{"prompt": "a", "chosen": "x", "rejected": "y", **more} for more in ({"lang": "lo"}, {}, {"lang": None})]
    prefs = write_jsonl(tmp_path / "p.jsonl", records)
    assert [pair.lang for pair in pairs_of(model_path, prefs)] == ["lo", "und", "und"]
    assert [pair.lang for pair in pairs_of(model_path, prefs, lang="th")] == ["lo", "th", "th"]


def test_the_digest_of_pairs_sees_tokens_masks_and_order(model_path: Path, prefs: Path) -> None:
    pairs = pairs_of(model_path, prefs)
    digest = pairs_digest(pairs)
    assert pairs_digest(pairs_of(model_path, prefs)) == digest
    swapped = [Pair(pairs[0].rejected, pairs[0].chosen), *pairs[1:]]
    assert len({digest, pairs_digest(pairs[::-1]), pairs_digest(pairs[:-1]), pairs_digest(swapped)}) == 4


def test_a_file_of_pairs_gives_them_back(model_path: Path, prefs: Path, tmp_path: Path) -> None:
    pairs = pairs_of(model_path, prefs, lang="th")
    pairs[2] = Pair(pairs[2].chosen, pairs[2].rejected, "lo")
    save_pairs(tmp_path / "pairs.safetensors", pairs)
    again = load_pairs(tmp_path / "pairs.safetensors")
    assert pairs_digest(again) == pairs_digest(pairs)
    assert [(pair.lang, pair.shared) for pair in again] == [(pair.lang, pair.shared) for pair in pairs]
