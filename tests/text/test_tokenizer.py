"""What a tokenizer promises beside ids: special tokens, bytes of pieces, decode, digest, save, notes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import SeaError, UsageError
from seatools.text.byte_alphabet import BYTE_TO_CHAR, spell, unspell
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tokenizer import Tokenizer, load_tokenizer

CHAT = "<|im_start|>user\nhé<|im_end|>"


@cache
def loaded(path: Path) -> Tokenizer:
    return load_tokenizer(path)


def byte_level_json(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json with the 256 bytes (ids 0 to 255), `he` (256), and added tokens `<eos>`, two spaces, `<gap>`."""
    alphabet = {char: byte for byte, char in BYTE_TO_CHAR.items()}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    parsed = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [
            {"id": 257, "content": "<eos>", "special": True, **flags},
            {"id": 258, "content": "  ", "special": False, **flags},
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": alphabet | {"he": 256}, "merges": [["h", "e"]]},
    }
    return parsed | changes


def write_json(folder: Path, parsed: Any, **others: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    for name, value in others.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def copy_of(source: Path, target: Path) -> Path:
    """A writable copy of a shared folder's tokenizer files."""
    target.mkdir()
    for file in source.iterdir():
        if file.name != "model.safetensors":
            shutil.copyfile(file, target / file.name)
    return target


# Special tokens


def test_text_that_spells_a_special_token_stays_text(shared: Path) -> None:
    qwen2 = loaded(shared / "tokenizers/qwen2")
    ids = qwen2.encode(CHAT)
    assert not set(ids) & set(qwen2.special_ids.values())
    assert qwen2.decode(ids) == CHAT


def test_special_tokens_are_recognised_on_request(shared: Path) -> None:
    qwen2 = loaded(shared / "tokenizers/qwen2")
    start, end = qwen2.special_ids["<|im_start|>"], qwen2.special_ids["<|im_end|>"]
    assert qwen2.encode(CHAT, special=True) == [start, *qwen2.encode("user\nhé"), end]
    assert qwen2.encode(CHAT) == qwen2.encode_batch([CHAT])[0]  # the other engine is as it was


def test_decode_drops_special_tokens_unless_told_not_to(shared: Path) -> None:
    qwen2 = loaded(shared / "tokenizers/qwen2")
    ids = qwen2.encode(CHAT, special=True)
    assert qwen2.decode(ids) == "user\nhé"
    assert qwen2.decode(ids, skip_special=False) == CHAT


@pytest.mark.parametrize("name", ["tokenizers/qwen2", "models/stories260K"])
def test_special_ids_are_those_of_transformers(shared: Path, name: str) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(shared / name)
    ours = loaded(shared / name)
    assert ours.bos_id == theirs.bos_token_id
    assert ours.eos_id == theirs.eos_token_id
    assert ours.unk_id == theirs.unk_token_id
    assert ours.pad_id == theirs.pad_token_id
    assert sorted(ours.special_ids.values()) == sorted(theirs.all_special_ids)
    assert ours.vocab_size == len(theirs)
    assert ours.add_bos == (theirs("x").input_ids[0] == theirs.bos_token_id)
    text = f"{CHAT}<s>once</s> upon"
    assert ours.encode(text, special=True) == theirs(text, add_special_tokens=False).input_ids


def test_a_bare_sentencepiece_model_splits_on_its_control_pieces(shared: Path) -> None:
    v3 = loaded(shared / "tokenizers/mistral-v3-spm")
    text = "[INST] hello [/INST] world</s>"
    assert v3.encode(text, special=True) == [
        v3.special_ids["[INST]"], *v3.encode(" hello "), v3.special_ids["[/INST]"], *v3.encode(" world"), v3.eos_id,
    ]  # fmt: skip
    assert not set(v3.encode(text)) & set(v3.special_ids.values())
    assert v3.decode(v3.encode(text, special=True), skip_special=False) == text


def test_added_tokens_that_are_not_special_are_always_recognised(shared: Path) -> None:
    neox = loaded(shared / "tokenizers/gpt-neox-20b")
    run = neox.piece_to_id(" " * 24)
    assert run is not None and run not in neox.special_ids.values()
    assert neox.encode(" " * 24) == [run]
    assert neox.piece_bytes(run) == b" " * 24


def test_added_tokens_beside_a_sentencepiece_model(shared: Path, tmp_path: Path) -> None:
    folder = copy_of(shared / "models/stories260K", tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").write_text(json.dumps({"<call>": 514, "[PAD]": 512}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}, "eos_token": None}))
    tokenizer, bare = load_tokenizer(folder), load_tokenizer(shared / "models/stories260K/tokenizer.model")
    assert tokenizer.vocab_size == 515
    assert (tokenizer.pad_id, tokenizer.eos_id) == (512, None)
    ids = tokenizer.encode("a<call>b[PAD]")
    assert ids == [*bare.encode("a"), 514, *bare.encode("b[PAD]")]  # <call> is not special, [PAD] is
    assert tokenizer.encode("[PAD]", special=True) == [512]
    assert tokenizer.decode(ids) == "a<call>b[PAD]"
    assert tokenizer.piece_bytes(514) == b"<call>"
    with pytest.raises(SeaError, match="no piece has id 513"):
        tokenizer.piece(513)


def test_roles_of_the_config_rule_over_the_post_processor(tmp_path: Path) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<eos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<eos>": {"id": "<eos>", "ids": [257], "tokens": ["<eos>"]}},
    }
    parsed = byte_level_json(post_processor=template)
    bare = load_tokenizer(write_json(tmp_path / "bare", parsed))
    assert (bare.bos_id, bare.eos_id, bare.add_bos, bare.context_id) == (257, None, True, 257)
    config = {"bos_token": None, "eos_token": "<eos>"}
    named = load_tokenizer(write_json(tmp_path / "named", parsed, tokenizer_config=config))
    assert (named.bos_id, named.eos_id, named.add_bos, named.context_id) == (None, 257, False, 257)


def test_special_tokens_map_rules_over_a_config_without_added_tokens_decoder(tmp_path: Path) -> None:
    config = {"eos_token": "he"}
    folder = write_json(tmp_path, byte_level_json(), tokenizer_config=config, special_tokens_map={"eos_token": "<eos>"})
    assert load_tokenizer(folder).eos_id == 257
    config["added_tokens_decoder"] = {"257": {"content": "<eos>", "special": True}}  # type: ignore[assignment]
    write_json(folder, byte_level_json(), tokenizer_config=config)
    assert load_tokenizer(folder).eos_id == 256


def test_a_named_token_without_an_id_comes_last_with_a_note(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_json(tmp_path, byte_level_json(), tokenizer_config={"pad_token": "<pad>"}))
    assert tokenizer.pad_id == 259
    assert tokenizer.vocab_size == 260
    assert "'<pad>'" in tokenizer.notes[0] and "259" in tokenizer.notes[0]


def test_a_tokenizer_without_bos_and_eos_has_no_context_id(shared: Path) -> None:
    with pytest.raises(SeaError, match="neither a BOS nor an EOS"):
        _ = loaded(shared / "tokenizers/gpt-neox-20b").context_id


# Encoding


def test_truncation_padding_and_dropout_of_the_file_are_off(tmp_path: Path) -> None:
    parsed = byte_level_json()
    parsed["model"]["dropout"] = 1.0
    tokenizer = load_tokenizer(write_json(tmp_path, parsed))
    assert tokenizer.encode("hehehehe") == [256] * 4
    assert "dropout" in tokenizer.notes[0]


@pytest.mark.parametrize(
    "name", ["tokenizers/mistral-v1-spm", "tokenizers/gptj-base", "tokenizers/gpt2-tiktoken", "models/stories260K"]
)
@pytest.mark.parametrize("special", [False, True])
def test_batches_do_not_depend_on_workers(shared: Path, name: str, special: bool) -> None:
    tokenizer = loaded(shared / name)
    texts = [f"Text {n} <s>ที่{'ก' * (n % 7)}</s><|endoftext|>" for n in range(60)]
    expected = [tokenizer.encode(text, special=special) for text in texts]
    for workers in (0, 1, 2, 5):
        assert tokenizer.encode_batch(texts, special=special, workers=workers) == expected
    assert tokenizer.encode_batch([]) == []


@pytest.mark.parametrize("name", ["mistral-v1-spm", "gptj-base", "gpt2-tiktoken"])
def test_a_lone_surrogate_is_refused_by_every_engine(shared: Path, name: str) -> None:
    with pytest.raises(SeaError, match=r"lone surrogate \(U\+D800 at character 1\)"):
        loaded(shared / "tokenizers" / name).encode("a\ud800")


def test_negative_workers_are_a_usage_error(shared: Path) -> None:
    with pytest.raises(UsageError):
        loaded(shared / "tokenizers/gpt2-tiktoken").encode_batch(["a"], workers=-1)


@settings(deadline=None)  # the first example loads the tokenizers
@given(st.text(st.characters(codec="utf-8")))
def test_byte_level_tokenizers_lose_nothing(shared: Path, text: str) -> None:
    for name in ("gptj-base", "gptj-thai-merged", "gpt2-tiktoken"):
        tokenizer = loaded(shared / "tokenizers" / name)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert b"".join(map(tokenizer.piece_bytes, ids)) == text.encode()


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="▁"), min_size=1))
def test_byte_fallback_loses_nothing_but_the_dummy_prefix(shared: Path, text: str) -> None:
    tokenizer = loaded(shared / "tokenizers/mistral-v1-spm")
    assert b"".join(map(tokenizer.piece_bytes, tokenizer.encode(text))) == b" " + text.encode()


def test_ids_without_a_piece_decode_to_nothing(shared: Path) -> None:
    for name in ("mistral-v1-spm", "gptj-base", "gpt2-tiktoken"):
        tokenizer = loaded(shared / "tokenizers" / name)
        ids = tokenizer.encode("hello world")
        assert tokenizer.decode([*ids, 10**6]) == "hello world"


def test_a_huge_run_that_tiktoken_cannot_split_is_reported(shared: Path) -> None:
    with pytest.raises(SeaError, match="tiktoken gave up"):
        loaded(shared / "tokenizers/gpt2-tiktoken").encode(" " * 1_000_000 + "x")


# Pieces


@given(st.binary())
def test_the_byte_alphabet_is_one_to_one(data: bytes) -> None:
    assert unspell(spell(data)) == data


def test_the_byte_alphabet_is_gpt2s() -> None:
    assert spell(b" the\n\xad") == "ĠtheĊŃ"
    assert len(set(BYTE_TO_CHAR.values())) == 256


@pytest.mark.parametrize(
    ("name", "piece", "data"),
    [
        ("mistral-v1-spm", "▁the", b" the"),
        ("mistral-v1-spm", "<0x0A>", b"\n"),
        ("mistral-v1-spm", "<s>", b""),
        ("mistral-v1-spm", "<unk>", b""),
        ("openthaigpt-thai-bpe", "<mask>", b"<mask>"),  # user-defined: recognised in plain text
        ("openllama", "▁the", b" the"),
        ("openllama", "<0x0A>", b"\n"),
        ("openllama", "[PAD]", b""),
        ("qwen2", "Ġthe", b" the"),
        ("qwen2", "<|im_end|>", b""),
        ("gpt2-tiktoken", "IHRoZQ==", b" the"),
        ("gpt2-tiktoken", "<|endoftext|>", b""),
    ],
)
def test_piece_bytes(shared: Path, name: str, piece: str, data: bytes) -> None:
    tokenizer = loaded(shared / "tokenizers" / name)
    id = tokenizer.piece_to_id(piece)
    assert id is not None
    assert tokenizer.piece(id) == piece
    assert tokenizer.piece_bytes(id) == data


@pytest.mark.parametrize("name", ["mistral-v3-spm", "openllama", "qwen2", "gpt2-tiktoken", "t5-v1_1-spm-unigram"])
def test_piece_to_id_inverts_piece(shared: Path, name: str) -> None:
    tokenizer = loaded(shared / "tokenizers" / name)
    ids = range(0, tokenizer.vocab_size, 97)
    assert [tokenizer.piece_to_id(tokenizer.piece(id)) for id in ids] == list(ids)
    assert tokenizer.piece_to_id("no such piece") is None


@pytest.mark.parametrize("name", ["mistral-v1-spm", "gptj-base", "gpt2-tiktoken"])
@pytest.mark.parametrize("id", [-1, 10**6])
def test_an_id_without_a_piece_is_an_error(shared: Path, name: str, id: int) -> None:
    with pytest.raises(SeaError, match=f"no piece has id {id}"):
        loaded(shared / "tokenizers" / name).piece(id)
    with pytest.raises(SeaError):
        loaded(shared / "tokenizers" / name).piece_bytes(id)


def test_byte_ids_are_the_byte_pieces(shared: Path) -> None:
    assert loaded(shared / "tokenizers/mistral-v1-spm").byte_ids == frozenset(range(3, 259))
    assert len(loaded(shared / "tokenizers/openllama").byte_ids) == 256
    assert loaded(shared / "tokenizers/qwen2").byte_ids == frozenset()


@pytest.mark.parametrize(
    ("name", "kind", "byte_level"),
    [
        ("mistral-v1-spm", "sentencepiece-bpe", False),
        ("t5-v1_1-spm-unigram", "sentencepiece-unigram", False),
        ("openllama", "json-bpe", False),
        ("gptj-base", "json-bpe", True),
        ("qwen2", "vocab-merges", True),
        ("o200k-tiktoken", "tiktoken", True),
    ],
)
def test_kinds(shared: Path, name: str, kind: str, byte_level: bool) -> None:
    tokenizer = loaded(shared / "tokenizers" / name)
    assert (tokenizer.kind, tokenizer.byte_level) == (kind, byte_level)


def test_unigram_tokenizer_json(tmp_path: Path) -> None:
    import tokenizers

    pieces = [("<unk>", 0.0), ("▁", -3.0), ("▁a", -1.0), ("b", -2.0)]
    engine = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 0))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    engine.decoder = tokenizers.decoders.Metaspace()
    engine.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert (ours.kind, ours.unk_id, ours.vocab_size) == ("json-unigram", 0, 4)
    assert ours.encode("ab a!") == engine.encode("ab a!").ids == [2, 3, 2, 0]
    assert [ours.piece_bytes(id) for id in range(4)] == [b"", b" ", b" a", b"b"]
    assert ours.decode(ours.encode("ab a")) == "ab a"


def test_the_parsed_files_are_at_hand(shared: Path) -> None:
    mistral, neox = loaded(shared / "tokenizers/mistral-v1-spm"), loaded(shared / "tokenizers/gpt-neox-20b")
    assert isinstance(mistral, SentencePieceTokenizer) and isinstance(neox, JsonTokenizer)
    assert mistral.model_proto.pieces[1].piece == "<s>"
    assert neox.json_model["model"]["type"] == "BPE"


# Digest and save


@pytest.mark.parametrize("name", ["tokenizers/qwen2", "tokenizers/cl100k-tiktoken", "models/stories260K"])
def test_a_saved_copy_is_the_same_tokenizer(shared: Path, tmp_path: Path, name: str) -> None:
    tokenizer = loaded(shared / name)
    tokenizer.save(tmp_path / "copy")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert saved == {path.name: path.read_bytes() for path in tokenizer.files}
    copy = load_tokenizer(tmp_path / "copy")
    assert copy.digest() == tokenizer.digest()
    assert copy.encode("ครับ 12") == tokenizer.encode("ครับ 12")


def test_save_takes_all_small_files_and_nothing_else(tmp_path: Path) -> None:
    names = ("tokenizer_config", "special_tokens_map", "added_tokens", "config", "generation_config")
    folder = write_json(tmp_path / "a", byte_level_json(), **{name: {} for name in names})
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    load_tokenizer(folder).save(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "added_tokens.json",
        "chat_template.jinja",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_saving_onto_itself_is_refused(tmp_path: Path) -> None:
    folder = write_json(tmp_path, byte_level_json())
    with pytest.raises(SeaError, match="own folder"):
        load_tokenizer(folder).save(folder)
    assert load_tokenizer(folder).vocab_size == 259


def changed_pre_tokenizer(parsed: dict[str, Any]) -> None:
    parsed["pre_tokenizer"]["use_regex"] = False


def changed_merges(parsed: dict[str, Any]) -> None:
    parsed["model"]["merges"] = []


def changed_added_token(parsed: dict[str, Any]) -> None:
    parsed["added_tokens"][1]["lstrip"] = True


def changed_piece(parsed: dict[str, Any]) -> None:
    parsed["model"]["vocab"]["x"], parsed["model"]["vocab"]["y"] = ord("y"), ord("x")


def changed_normalizer(parsed: dict[str, Any]) -> None:
    parsed["normalizer"] = {"type": "NFC"}


@pytest.mark.parametrize(
    "change", [changed_pre_tokenizer, changed_merges, changed_added_token, changed_piece, changed_normalizer]
)
def test_the_digest_tells_tokenizers_apart(tmp_path: Path, change: Any) -> None:
    parsed = byte_level_json()
    before = load_tokenizer(write_json(tmp_path, parsed)).digest()
    change(parsed)
    assert load_tokenizer(write_json(tmp_path, parsed)).digest() != before


def test_the_digest_knows_the_special_ids(tmp_path: Path) -> None:
    before = load_tokenizer(write_json(tmp_path, byte_level_json())).digest()
    write_json(tmp_path, byte_level_json(), tokenizer_config={"eos_token": "<eos>"})
    assert load_tokenizer(tmp_path).digest() != before


def test_the_digest_ignores_what_does_not_change_ids(tmp_path: Path) -> None:
    before = load_tokenizer(write_json(tmp_path, byte_level_json())).digest()
    parsed = byte_level_json(truncation=None)
    parsed["model"]["merges"] = ["h e"]  # the older spelling
    write_json(tmp_path, parsed, tokenizer_config={"chat_template": "x", "model_max_length": 5})
    assert load_tokenizer(tmp_path).digest() == before


def test_a_score_of_a_sentencepiece_model_is_in_its_digest(shared: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(shared / "models/stories260K/tokenizer.model")
    assert isinstance(tokenizer, SentencePieceTokenizer)
    proto = tokenizer.model_proto
    proto.pieces[300].score -= 0.5
    (tmp_path / "tokenizer.model").write_bytes(proto.SerializeToString())
    fresh = load_tokenizer(shared / "models/stories260K/tokenizer.model")
    assert load_tokenizer(tmp_path).digest() != fresh.digest()


def test_a_file_and_its_folder_are_the_same_tokenizer(shared: Path) -> None:
    qwen2 = shared / "tokenizers/qwen2"
    assert load_tokenizer(qwen2 / "vocab.json").digest() == loaded(qwen2).digest()


# Two files in one folder


def test_a_folder_whose_files_differ_says_on_which_text(shared: Path) -> None:
    (note,) = loaded(shared / "models/stories260K").notes  # its tokenizer.json strips spaces after a line break
    assert "2 of 30 probe texts" in note and "def f(x)" in note and "(50 ids and 51)" in note


def test_the_sentencepiece_model_rules_over_tokenizer_json(shared: Path) -> None:
    both = loaded(shared / "models/stories260K")
    alone = load_tokenizer(shared / "models/stories260K/tokenizer.model")
    assert both.encode("a\n  b") == alone.encode("a\n  b")


def test_a_piece_with_two_ids_is_an_error_that_names_it(shared: Path, tmp_path: Path) -> None:
    folder = copy_of(shared / "models/stories260K", tmp_path / "model")
    parsed = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = parsed["model"]["vocab"]
    vocabulary["▁t"], vocabulary["he"] = vocabulary["he"], vocabulary["▁t"]
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    with pytest.raises(SeaError, match=r"'▁t' has id 259 in .*tokenizer\.model and \d+ in .*tokenizer\.json"):
        load_tokenizer(folder)
    assert load_tokenizer(folder / "tokenizer.model").kind == "sentencepiece-bpe"
    assert load_tokenizer(folder / "tokenizer.json").kind == "json-bpe"


def test_a_tokenizer_json_with_more_pieces_than_the_model_is_an_error(shared: Path, tmp_path: Path) -> None:
    folder = copy_of(shared / "models/stories260K", tmp_path / "model")
    parsed = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    parsed["model"]["vocab"]["ครับ"] = 512
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    with pytest.raises(SeaError, match="1 pieces that .* lacks, as 'ครับ'"):
        load_tokenizer(folder)


def test_added_tokens_come_from_the_tokenizer_json_beside_the_model(shared: Path, tmp_path: Path) -> None:
    folder = copy_of(shared / "models/stories260K", tmp_path / "model")
    parsed = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    extra = dict(parsed["added_tokens"][1], id=512, content="<|user|>")
    parsed["added_tokens"].append(extra)
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.special_ids["<|user|>"] == 512
    assert tokenizer.encode("<|user|>once", special=True)[0] == 512
    assert 512 not in tokenizer.encode("<|user|>once")
    assert tokenizer.vocab_size == 513


# tiktoken


def test_tiktoken_patterns_of_the_user(shared: Path) -> None:
    path = shared / "tokenizers/gpt2-tiktoken/r50k_base.tiktoken"
    words = load_tokenizer(path, pattern=r"\S+|\s+")
    assert words.decode(words.encode("don't stop")) == "don't stop"
    assert words.encode("a b") != loaded(path).encode("a b")
    assert words.special_ids == {}
    assert words.digest() != loaded(path).digest()


def test_special_tokens_of_a_preset_belong_to_its_own_ranks(shared: Path) -> None:
    other = load_tokenizer(shared / "tokenizers/gpt2-tiktoken", pattern="cl100k_base")
    assert other.special_ids == {}
    assert "50256 ranks, cl100k_base has 100256" in other.notes[0]


def test_rank_files_are_known_by_their_content(shared: Path, tmp_path: Path) -> None:
    # Llama 3 names its rank file tokenizer.model.
    shutil.copyfile(shared / "tokenizers/gpt2-tiktoken/r50k_base.tiktoken", tmp_path / "tokenizer.model")
    tokenizer = load_tokenizer(tmp_path, pattern="gpt2")
    assert tokenizer.kind == "tiktoken"
    assert tokenizer.special_ids == {"<|endoftext|>": 50256}


def test_nothing_here_imports_transformers_or_torch(shared: Path) -> None:
    code = (
        "import sys\nfrom seatools.text.tokenizer import load_tokenizer\n"
        f"for name in ('models/stories260K', 'tokenizers/gpt2-tiktoken', 'tokenizers/gptj-thai-merged'):\n"
        f"    load_tokenizer({str(shared)!r} + '/' + name).encode('hello')\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
