"""What a vocabulary holds, without text."""

from __future__ import annotations

import json

from seatools.audit.vocabulary import KINDS, VOCABULARY_MEASURES, analyse
from seatools.text.byte_alphabet import spell
from seatools.text.tokenizer import load_tokenizer


def test_a_byte_level_vocabulary(tokenizer):
    loaded = load_tokenizer(tokenizer)
    found = analyse(loaded)
    assert found.values == {
        "vocab_size": 259,
        "special_tokens": 1,
        "added_tokens": 0,
        "byte_tokens": 128,
        "incomplete_tokens": 0,
        "unused_ids": 0,
        "duplicate_tokens": 0,
        "dormant_tokens": 0,
        "unreachable_tokens": 0,
        "unmerged_tokens": 0,
        "remade_tokens": 0,
        "disordered_tokens": 0,
        "merges": 2,
        "idle_merges": 0,
    }
    assert set(found.values) == set(VOCABULARY_MEASURES)
    assert found.scripts == {"Latin": 54}  # 26 letters twice, "th", "the"


def test_every_fault_of_merges(tmp_path):
    """Made twice: "ab", and "abc" in two ways; made by none: "xyz"; made after what needs it: "cd"."""
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)}
    vocabulary |= {token: 256 + number for number, token in enumerate(["ab", "abc", "bc", "xyz", "bcd", "cd", "é"])}
    merges = ["a b", "a b", "ab c", "b c", "a bc", "b cd", "c d"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\n".join(merges) + "\n")
    loaded = load_tokenizer(tmp_path)
    found = analyse(loaded)
    names = {kind: [loaded.piece(id) for id in ids] for kind, ids in found.kinds.items()}
    assert names["remade"] == ["ab", "abc"]
    assert names["unmerged"] == ["xyz"]
    assert names["disordered"] == ["bcd"]
    # "bcd" alone: b c d -> bc d. So the second "ab", "a bc" and "b cd" never fire.
    assert names["unreachable"] == ["xyz", "bcd"] and found.values["idle_merges"] == 3
    assert names["duplicate"] == []  # "é" of the alphabet is the byte 0xE9


def test_pieces_of_one_text_are_duplicates(tmp_path):
    tokens = {"<s>": 0, "▁a": 1, " a": 2, "a": 3, "▁": 4}
    model = {"type": "BPE", "vocab": tokens, "merges": [["▁", "a"]], "byte_fallback": True}
    parsed = {"added_tokens": [], "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**parsed, "model": model}), encoding="utf-8")
    found = analyse(load_tokenizer(tmp_path))
    assert found.kinds["duplicate"] == [2]


def test_records_of_listed_tokens(tokenizer):
    loaded = load_tokenizer(tokenizer)
    found = analyse(loaded)
    assert list(found.tokens("special", loaded)) == [
        {"token": "<|end|>", "id": 258, "bytes": "", "kind": "special", "text": None, "script": None}
    ]
    for kind in KINDS:
        assert [row["id"] for row in found.tokens(kind, loaded)] == found.kinds[kind]


def test_scores_that_put_a_token_before_its_parts(shared):
    found = analyse(load_tokenizer(shared / "tokenizers" / "mistral-v1-spm"))
    assert (found.values["vocab_size"], found.values["byte_tokens"], found.values["special_tokens"]) == (32000, 256, 3)
    assert list(found.scripts)[0] == "Latin" and found.scripts["Thai"] < 60
    assert all(set(found.texts[id]) == {" "} for id in found.kinds["disordered"])  # runs of spaces at score -1e9
    assert "merges" not in found.values and "remade_tokens" not in found.values


def test_merges_that_a_converter_made(shared):
    """transformers once listed every split of every piece: OpenLLaMA has 33,486 merges that never fire."""
    found = analyse(load_tokenizer(shared / "tokenizers" / "openllama"))
    assert (found.values["merges"], found.values["idle_merges"]) == (64812, 33486)
    assert found.values["unreachable_tokens"] == 237


def test_a_unigram_model_has_no_merges(shared):
    found = analyse(load_tokenizer(shared / "tokenizers" / "t5-v1_1-spm-unigram"))
    assert found.values["unreachable_tokens"] == 2
    assert not {"merges", "unmerged_tokens", "disordered_tokens"} & set(found.values)
    assert list(found.tokens("unmerged", load_tokenizer(shared / "tokenizers" / "t5-v1_1-spm-unigram"))) == []
