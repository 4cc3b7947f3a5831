"""Bad tokenizer files are refused by name, with a way to mend it; none gives wrong ids silently."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.byte_alphabet import BYTE_TO_CHAR
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import MAX_IDS
from seatools.text.tokenizer import load_tokenizer

RANKS = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
BYTES = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def refused(path: Path, match: str, *, pattern: str | None = None) -> SeaError:
    with pytest.raises(SeaError, match=match) as caught:
        load_tokenizer(path, pattern=pattern)
    assert caught.value.fix
    return caught.value


def written(path: Path, data: bytes | str | object) -> Path:
    if isinstance(data, str):
        data = data.encode()
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "nothing does not exist")


def test_a_folder_without_a_tokenizer_lists_what_was_looked_for(tmp_path: Path) -> None:
    written(tmp_path / "config.json", {})
    error = refused(tmp_path, "holds no tokenizer")
    for name in ("*.model", "tokenizer.json", "vocab.json", "merges.txt", "*.tiktoken"):
        assert name in str(error.fix)


def test_several_models_in_one_folder(shared: Path, tmp_path: Path) -> None:
    model = shared / "models/stories260K/tokenizer.model"
    for name in ("a.model", "b.model"):
        shutil.copyfile(model, tmp_path / name)
    refused(tmp_path, "several .model files: a.model, b.model")
    assert load_tokenizer(tmp_path / "a.model").vocab_size == 512
    shutil.copyfile(model, tmp_path / "tokenizer.model")
    assert load_tokenizer(tmp_path).files[0].name == "tokenizer.model"


def test_several_rank_files_in_one_folder(tmp_path: Path) -> None:
    for name in ("a.tiktoken", "b.tiktoken"):
        written(tmp_path / name, b"\n".join(RANKS))
    refused(tmp_path, "several .tiktoken files")


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json", "x.tiktoken", "vocab.json"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    written(tmp_path / "merges.txt", "#version: 0.2\n")
    refused(written(tmp_path / name, b""), f"{name} is empty")


@pytest.mark.parametrize("cut", [1000, 7000])
def test_a_truncated_sentencepiece_model(shared: Path, tmp_path: Path, cut: int) -> None:
    data = (shared / "models/stories260K/tokenizer.model").read_bytes()
    refused(written(tmp_path / "tokenizer.model", data[:cut]), "not a SentencePiece model")


def test_a_file_of_another_kind_named_model(tmp_path: Path) -> None:
    refused(written(tmp_path / "tokenizer.model", b"PK\x03\x04 a zip file"), "not a SentencePiece model")


def test_a_word_model_of_sentencepiece(shared: Path, tmp_path: Path) -> None:
    stories = load_tokenizer(shared / "models/stories260K/tokenizer.model")
    assert isinstance(stories, SentencePieceTokenizer)
    proto = stories.model_proto
    proto.trainer_spec.model_type = 3
    refused(written(tmp_path / "tokenizer.model", proto.SerializeToString()), "of type word")


def test_a_truncated_tokenizer_json_names_the_line(shared: Path, tmp_path: Path) -> None:
    data = (shared / "models/stories260K/tokenizer.json").read_bytes()[:5000]
    error = refused(written(tmp_path / "tokenizer.json", data), "not valid JSON")
    assert error.where is not None and error.where.startswith(f"{tmp_path}/tokenizer.json:")


@pytest.mark.parametrize(
    "value", [{}, [], 3, {"model": 1}, {"model": {"type": "BPE"}}, {"a": 0}, {"model": {"type": "BPE", "vocab": {}}}]
)
def test_json_that_is_not_a_tokenizer(tmp_path: Path, value: object) -> None:
    refused(written(tmp_path / "tokenizer.json", value), "is not a tokenizer.json")


@pytest.mark.parametrize("kind", ["WordPiece", "WordLevel"])
def test_unsupported_models_are_named(tmp_path: Path, kind: str) -> None:
    value = {"model": {"type": kind, "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}}
    refused(written(tmp_path / "tokenizer.json", value), f"is a {kind} tokenizer")


def test_a_word_suffix_is_unsupported(tmp_path: Path) -> None:
    value = {"model": {"type": "BPE", "vocab": {"a</w>": 0}, "merges": [], "end_of_word_suffix": "</w>"}}
    refused(written(tmp_path / "tokenizer.json", value), "end_of_word_suffix '</w>'")


@pytest.mark.parametrize(
    "model",
    [
        {"type": "BPE", "vocab": {"a": "0"}, "merges": []},
        {"type": "BPE", "vocab": {"a": -1}, "merges": []},
        {"type": "BPE", "vocab": ["a"], "merges": []},
        {"type": "Unigram", "vocab": ["a"], "unk_id": 0},
    ],
)
def test_malformed_vocabularies(tmp_path: Path, model: object) -> None:
    refused(written(tmp_path / "tokenizer.json", {"model": model}), "vocabulary of the .* model is malformed")


def test_two_pieces_with_one_id(tmp_path: Path) -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "<0x0A>": 1}, "merges": []}
    refused(written(tmp_path / "tokenizer.json", {"model": model}), "'b' and '<0x0A>' share the id 1")


@pytest.mark.parametrize(
    ("merge", "match"),
    [(["a", "b"], "needs the piece 'ab'"), ("a x", "needs the piece 'x'"), ("a", "is not two pieces")],
)
def test_merges_of_a_tokenizer_json_that_do_not_fit(tmp_path: Path, merge: object, match: str) -> None:
    value = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [merge]}}
    refused(written(tmp_path / "tokenizer.json", value), match)


def test_what_the_engine_refuses_is_reported(tmp_path: Path) -> None:
    value = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": {"type": "Invented"}}
    refused(written(tmp_path / "tokenizer.json", value), "tokenizers cannot load it")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("tokenizer_config.json", "{", "not valid JSON"),
        ("tokenizer_config.json", [], "not a JSON object"),
        ("tokenizer_config.json", {"eos_token": 5}, "5 is not a token"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": "<a>"}}, "has the key 'x'"),
        ("tokenizer_config.json", {"added_tokens_decoder": []}, "not an object"),
        ("added_tokens.json", {"<a>": "5"}, "has the id '5'"),
        ("added_tokens.json", {"<a>": 600, "<b>": 600}, "'<a>' and '<b>' have the same id 600"),
    ],
)
def test_malformed_small_files(shared: Path, tmp_path: Path, name: str, value: object, match: str) -> None:
    shutil.copyfile(shared / "models/stories260K/tokenizer.model", tmp_path / "tokenizer.model")
    written(tmp_path / name, value)
    refused(tmp_path, match)


@pytest.mark.parametrize(("given", "missing"), [("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")])
def test_half_a_pair(tmp_path: Path, given: str, missing: str) -> None:
    written(tmp_path / given, "x")
    refused(tmp_path, f"{missing} is missing")
    refused(tmp_path / given, f"{missing} is missing")


@pytest.mark.parametrize(
    ("merges", "line", "match"),
    [
        ("#version: 0.2\nh e\nhe l\n", 2, "needs the piece 'he'"),
        ("#version: 0.2\r\nh e\r\n", 2, "needs the piece 'he'"),
        ("h\n", 1, "'h' is not a merge"),
        ("h e l\n", 1, "is not a merge"),
        ("h  \n", 1, "is not a merge"),
    ],
)
def test_merges_that_do_not_fit(tmp_path: Path, merges: str, line: int, match: str) -> None:
    written(tmp_path / "vocab.json", BYTES)
    written(tmp_path / "merges.txt", merges)
    assert refused(tmp_path, match).where == f"{tmp_path}/merges.txt:{line}"


@pytest.mark.parametrize(
    ("vocabulary", "match"),
    [([], "not a vocabulary"), ({"a": "1"}, "the id of 'a' is '1'"), ({"a": 1, "b": 1}, "have the same id 1")],
)
def test_malformed_vocab_json(tmp_path: Path, vocabulary: object, match: str) -> None:
    written(tmp_path / "vocab.json", vocabulary)
    written(tmp_path / "merges.txt", "#version: 0.2\n")
    refused(tmp_path, match)


def test_an_unknown_class_beside_vocab_json_is_not_guessed(tmp_path: Path) -> None:
    written(tmp_path / "vocab.json", BYTES)
    written(tmp_path / "merges.txt", "#version: 0.2\n")
    written(tmp_path / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizerFast"})
    assert "--pattern" in str(refused(tmp_path, "pre-tokenizer of RobertaTokenizer").fix)
    assert load_tokenizer(tmp_path, pattern="gpt2").encode("hi") == [ord("h"), ord("i")]


@pytest.mark.parametrize(
    ("line", "match"),
    [(b"!!!! 300", "is not a rank"), (b"YWI=", "is not a rank"), (b"YWI= x", "is not a rank"), (b"YQ== 300", "twice"),
     (b"YWI= 97", "twice"), (b"YWI= -1", "is not a rank"), (b"a\xff 300", "is not a rank")],
)  # fmt: skip
def test_a_broken_rank_line_is_named(tmp_path: Path, line: bytes, match: str) -> None:
    path = written(tmp_path / "x.tiktoken", b"\n".join([*RANKS, line, b"YWJj 301"]))
    assert refused(path, match, pattern="gpt2").where == f"{path}:257"


def test_a_rank_file_without_all_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tiktoken", b"\n".join(RANKS[:200]))
    refused(path, "no rank for 56 of the 256 single bytes .first: 0xC8", pattern="gpt2")


def test_an_unknown_rank_file_asks_for_a_pattern(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.tiktoken", b"\n".join(RANKS))
    assert "--pattern" in str(refused(path, "does not say how text is split").fix)
    assert load_tokenizer(path, pattern="cl100k_base").vocab_size == 256


def test_a_rank_file_with_the_name_of_another_encoding(tmp_path: Path) -> None:
    path = written(tmp_path / "cl100k_base.tiktoken", b"\n".join(RANKS))
    refused(path, "holds 256 ranks, cl100k_base has 100256")


@pytest.mark.parametrize(
    ("pattern", "match"), [("(", "cannot use the pattern"), (r"\p{L}+", "loses a part"), ("", "loses a part")]
)
def test_patterns_that_tiktoken_cannot_use(tmp_path: Path, pattern: str, match: str) -> None:
    path = written(tmp_path / "mine.tiktoken", b"\n".join(RANKS))
    assert isinstance(refused(path, match, pattern=pattern), UsageError)


@pytest.mark.parametrize("pattern", [r"\p{N}{1,3}+|\s+", "("])
def test_patterns_that_tokenizers_cannot_use(tmp_path: Path, pattern: str) -> None:
    written(tmp_path / "vocab.json", BYTES)
    written(tmp_path / "merges.txt", "#version: 0.2\n")
    assert isinstance(refused(tmp_path, "possessive|cannot use the pattern", pattern=pattern), UsageError)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json", ""])
def test_a_pattern_without_use(shared: Path, name: str) -> None:
    error = refused(shared / "models/stories260K" / name, "has its own pre-tokenizer", pattern="gpt2")
    assert isinstance(error, UsageError)


@pytest.mark.parametrize("id", [MAX_IDS, 1 << 32, -1, 1.0, "1"])
def test_ids_beyond_any_vocabulary_are_refused_with_the_limit(tmp_path: Path, id: object) -> None:
    written(tmp_path / "vocab.json", BYTES | {"xx": id})
    written(tmp_path / "merges.txt", "#version: 0.2\n")
    assert "0 to 2,097,151" in str(refused(tmp_path, "xx").fix)
    model = {"type": "BPE", "vocab": {"a": 0, "xx": id}, "merges": []}
    written(tmp_path / "tokenizer.json", {"version": "1.0", "added_tokens": [], "model": model})
    assert "0 to 2,097,151" in str(refused(tmp_path, "malformed").fix)
