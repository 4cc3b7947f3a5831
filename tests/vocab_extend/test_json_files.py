"""tokenizer.json, vocab.json and merges.txt: a changed pre-tokenizer and ids that are used again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.agreement import PROBES
from seatools.text.byte_alphabet import spell
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.marks import pre_tokenizer_with_marks
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.reused_ids import reusable_ids
from seatools.vocab_extend.tokenizer_files import write_extended

Make = Callable[..., Path]


def opened(path: Path) -> JsonTokenizer:
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, JsonTokenizer)
    return tokenizer


def merged(base: JsonTokenizer, pairs: Sequence[tuple[bytes, bytes]], ids: Iterable[int] = ()) -> list[NewToken]:
    """One token a pair, with `ids` in turn, then with those after the base's."""
    tokens: list[NewToken] = []
    made: dict[bytes, int] = {}
    given = chain(ids, count(base.vocab_size))
    for pair in pairs:
        left, right = (made.get(part, base.piece_to_id(spell(part))) for part in pair)
        assert left is not None and right is not None
        data = pair[0] + pair[1]
        made[data] = next(given)
        tokens.append(NewToken(made[data], spell(data), data, "merge", (left, right), tuple(data)))
    return tokens


def letters(*texts: str) -> list[tuple[bytes, bytes]]:
    """Merges for Thai texts of two characters: their common first bytes, the characters, the texts."""
    chars = dict.fromkeys("".join(texts))
    inside = [(char.encode()[:2], char.encode()[2:]) for char in chars]
    return [(b"\xe0", b"\xb8"), *inside, *((text[0].encode(), text[1].encode()) for text in texts)]


@pytest.mark.parametrize(
    ("tokenizer_class", "as_json"),
    [
        ("GPT2Tokenizer", False),
        ("GPT2Tokenizer", True),
        ("Qwen2TokenizerFast", False),
        ("Qwen2Tokenizer", True),
        ("PreTrainedTokenizerFast", True),
    ],
)
def test_marks_hold_in_transformers_whatever_class_and_model_the_base_names(
    byte_level: Make,
    byte_level_json: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer_class: str,
    as_json: bool,
) -> None:
    import transformers.dynamic_module_utils
    from transformers import AutoTokenizer

    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    make = byte_level_json if as_json else byte_level
    folder = make(tmp_path / "base", [(b"a", b"b")], ["<|endoftext|>", "<|im_end|>"])
    config = {"tokenizer_class": tokenizer_class, "model_max_length": 999}
    if not as_json:
        config |= json.loads((folder / "tokenizer_config.json").read_text()) | config
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    base, before = opened(folder), AutoTokenizer.from_pretrained(folder)
    tokens = merged(base, letters("กิ", "กี"))
    out = tmp_path / "out"
    out.mkdir()
    section = pre_tokenizer_with_marks(base)
    names = write_extended(base, tokens, out, pre_tokenizer=section)
    assert sorted(names) == sorted(path.name for path in out.iterdir())
    new = opened(out)
    assert (new.kind, new.notes, new.json_model["pre_tokenizer"]) == ("json-bpe", [], section)
    assert {file.name for file in new.files} == set(names)
    assert new.special_ids == base.special_ids
    assert new.encode("กิกี") == [tokens[-2].id, tokens[-1].id]
    for model_type in (None, "gpt2", "qwen2", "qwen3", "llama"):
        if model_type is not None:
            (out / "config.json").write_text(json.dumps({"model_type": model_type}))
        for trust in (False, True):
            after = AutoTokenizer.from_pretrained(out, trust_remote_code=trust)
            for text in ("กิกี", *PROBES, "<|im_end|>ab"):
                assert after.encode(text, add_special_tokens=False) == new.encode(text, special=True), model_type
            assert after.model_max_length == 999
            roles = ("bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id")
            assert [getattr(after, role) for role in roles] == [getattr(before, role) for role in roles]


def test_marks_for_qwen2_itself(shared: Path, tmp_path: Path) -> None:
    base = opened(shared / "tokenizers/qwen2")
    write_extended(base, [], tmp_path, pre_tokenizer=pre_tokenizer_with_marks(base))
    new = opened(tmp_path)
    assert (new.kind, new.vocab_size, new.special_ids) == ("json-bpe", base.vocab_size, base.special_ids)
    roles = ("bos_id", "eos_id", "unk_id", "pad_id", "add_bos")
    assert [getattr(new, role) for role in roles] == [getattr(base, role) for role in roles]
    old_config = json.loads((shared / "tokenizers/qwen2/tokenizer_config.json").read_text())
    new_config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    differing = {key for key in old_config | new_config if old_config.get(key) != new_config.get(key)}
    assert differing <= {"tokenizer_class", "unk_token", "auto_map"}
    lines = (shared / "data/flores200/dev/eng_Latn.txt").read_text("utf-8").splitlines()
    assert new.encode_batch(lines) == base.encode_batch(lines)
    thai = (shared / "data/flores200/dev/tha_Thai.txt").read_text("utf-8").splitlines()
    # Its vocabulary has 1,578 Thai tokens that its own regular expression keeps out of reach (vocab-embed.md 7.1).
    assert sum(map(len, new.encode_batch(thai))) < 0.95 * sum(map(len, base.encode_batch(thai)))


def test_the_space_before_a_text_stays_one_space(byte_level_json: Make, tmp_path: Path) -> None:
    folder = byte_level_json(tmp_path / "base", [(b"a", b"b")])
    parsed = json.loads((folder / "tokenizer.json").read_text())
    parsed["pre_tokenizer"]["add_prefix_space"] = True
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    base = opened(folder)
    (tmp_path / "out").mkdir()
    write_extended(base, [], tmp_path / "out", pre_tokenizer=pre_tokenizer_with_marks(base))
    new = opened(tmp_path / "out")
    for text in ("ab ab", " ab", "", "\nab", "a1b", "1", "  "):
        assert new.encode(text) == base.encode(text)
    assert new.encode("ab ab") == [ord(" "), 256, ord(" "), 256]


MERGES = [(b"a", b"b"), (b"ab", b"c"), (b"c", b"d"), (b"cd", b"a"), (b"x", b"y")]  # ab 256, abc, cd, cda, xy 260


@pytest.mark.parametrize("form", ["pair", "json", "json, merges as text", "both"])
def test_ids_that_nothing_needs_are_used_again(
    byte_level: Make, byte_level_json: Make, tmp_path: Path, form: str
) -> None:
    folder = tmp_path / "base"
    if form != "pair":
        byte_level_json(folder, MERGES, ["<|end|>"])
    if form in ("pair", "both"):
        byte_level(folder, MERGES, ["<|end|>"])
    if form == "json, merges as text":
        parsed = json.loads((folder / "tokenizer.json").read_text())
        parsed["model"]["merges"] = [" ".join(merge) for merge in parsed["model"]["merges"]]
        (folder / "tokenizer.json").write_text(json.dumps(parsed))
    base = opened(folder)
    assert reusable_ids(base.json_model, [258, 260]) == [260]  # cda is made from cd
    free = reusable_ids(base.json_model, [258, 259, 260])
    assert free == [259, 258, 260]
    tokens = merged(base, letters("กข"), [260, 258, 259])
    assert [token.id for token in tokens] == [260, 258, 259, base.vocab_size]
    out = tmp_path / "out"
    out.mkdir()
    write_extended(base, tokens, out)
    new = opened(out)
    assert new.special_ids == base.special_ids and new.notes == base.notes
    assert new.vocab_size == base.vocab_size + 1
    assert new.encode("กขข") == [base.vocab_size, 259]
    assert new.encode("abc cda xy") == [257, 32, ord("c"), ord("d"), ord("a"), 32, ord("x"), ord("y")]
    assert [new.piece(token.id) for token in tokens] == [token.piece for token in tokens]
    assert sorted(new.vocabulary.values()) == list(range(base.vocab_size + 1))
    if form == "both":
        model = json.loads((out / "tokenizer.json").read_text())["model"]
        assert json.loads((out / "vocab.json").read_text()) == model["vocab"]
        assert (out / "merges.txt").read_text().splitlines()[1:] == [" ".join(merge) for merge in model["merges"]]
    if form == "pair":
        from transformers import AutoTokenizer

        theirs = AutoTokenizer.from_pretrained(out)
        for text in ("กข", "abc cda xy", "<|end|>ab"):
            assert theirs.encode(text, add_special_tokens=False) == new.encode(text, special=True)


def test_a_piece_may_come_back_under_another_id(byte_level_json: Make, tmp_path: Path) -> None:
    base = opened(byte_level_json(tmp_path / "base", MERGES))
    again = NewToken(256, "xy", b"xy", "merge", (ord("x"), ord("y")), (ord("x"), ord("y")))
    with pytest.raises(SeaError, match="'ab' .id 256. cannot be replaced: 'abc' is made from it"):
        write_extended(base, [again], tmp_path)
    again = NewToken(260, "xy", b"xy", "merge", (ord("x"), ord("y")), (ord("x"), ord("y")))
    (tmp_path / "out").mkdir()
    write_extended(base, [again], tmp_path / "out")
    merges = json.loads((tmp_path / "out/tokenizer.json").read_text())["model"]["merges"]
    assert merges.count(["x", "y"]) == 1 and opened(tmp_path / "out").encode("xy") == [260]


@pytest.mark.parametrize(
    ("id", "piece", "match"),
    [
        (261, "zz", "would take the id of '<.end.>'"),
        (262, "ab", "the new piece 'ab' or its id 262 is in the vocabulary already"),
        (262, "<|end|>", "is in the vocabulary already"),
    ],
)
def test_ids_and_pieces_in_use_are_refused(byte_level: Make, tmp_path: Path, id: int, piece: str, match: str) -> None:
    base = opened(byte_level(tmp_path / "base", MERGES, ["<|end|>"]))
    (tmp_path / "out").mkdir()
    with pytest.raises(SeaError, match=match):
        write_extended(base, [NewToken(id, piece, piece.encode(), "merge", (97, 98), (97, 98))], tmp_path / "out")


def test_sentencepiece_ids_cannot_be_used_again(sentencepiece_model: Make, tmp_path: Path) -> None:
    base = load_tokenizer(sentencepiece_model(tmp_path / "base", ["▁", "a", "b"]))
    with pytest.raises(UsageError, match="sentencepiece-bpe file the order of ids or scores is the order of priority"):
        write_extended(base, [NewToken(5, "ab", b"ab", "merge", None, ())], tmp_path)
    with pytest.raises(UsageError, match="cannot hold a changed pre-tokenizer"):
        write_extended(base, [], tmp_path, pre_tokenizer={"type": "ByteLevel"})


def test_roles_that_only_the_class_knows_survive_another_pre_tokenizer(byte_level_json: Make, tmp_path: Path) -> None:
    """GPT-2's own folder names neither its class nor its roles: transformers knows them by the model's type."""
    from transformers import AutoTokenizer

    folder = byte_level_json(tmp_path / "base", [(b"a", b"b")], ["<|endoftext|>"])
    (tmp_path / "out").mkdir()
    base = opened(folder)
    write_extended(base, [], tmp_path / "out", pre_tokenizer=pre_tokenizer_with_marks(base))
    for place in (folder, tmp_path / "out"):
        (place / "config.json").write_text('{"model_type": "gpt2"}')
    before, after = (AutoTokenizer.from_pretrained(place) for place in (folder, tmp_path / "out"))
    assert before.special_tokens_map == after.special_tokens_map != {}
