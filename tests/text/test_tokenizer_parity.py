"""Ids equal those of the engines themselves on every shared tokenizer, over FLORES dev in all its languages."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from sentencepiece import SentencePieceProcessor

from seatools.text.agreement import PROBES
from seatools.text.pretokenizer_presets import PRESETS
from seatools.text.tokenizer import load_tokenizer

Encode = Callable[[list[str]], Iterable[list[int]]]


def sentencepiece_oracle(path: Path) -> Encode:
    processor = SentencePieceProcessor(model_file=str(path))
    return lambda texts: processor.encode(texts, num_threads=2)


def tokenizers_oracle(path: Path) -> Encode:
    engine = tokenizers.Tokenizer.from_file(str(path))
    return lambda texts: [e.ids for e in engine.encode_batch_fast(texts, add_special_tokens=False)]


def tiktoken_oracle(path: Path) -> Encode:
    # Built by hand from the file, and by the package's own table of patterns.
    from tiktoken_ext import openai_public

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
        published = openai_public.ENCODING_CONSTRUCTORS[path.stem]()
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    published["mergeable_ranks"] = {base64.b64decode(token): int(rank) for token, rank in lines}
    engine = tiktoken.Encoding(**published)
    return lambda texts: engine.encode_ordinary_batch(texts, num_threads=2)


def pair_oracle(folder: Path) -> Encode:
    if (folder / "tokenizer_config.json").exists():
        from transformers import AutoTokenizer

        fast = AutoTokenizer.from_pretrained(folder)
        return lambda texts: fast(texts, add_special_tokens=False).input_ids
    engine = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return lambda texts: [e.ids for e in engine.encode_batch(texts)]


FOLDERS = {
    "tokenizers/chinese-sp-20k": sentencepiece_oracle,
    "tokenizers/mistral-v1-spm": sentencepiece_oracle,
    "tokenizers/mistral-v3-spm": sentencepiece_oracle,
    "tokenizers/myanmar-spm-bpe-10k": sentencepiece_oracle,
    "tokenizers/myanmar-spm-unigram-10k": sentencepiece_oracle,
    "tokenizers/openthaigpt-thai-bpe": sentencepiece_oracle,
    "tokenizers/t5-v1_1-spm-unigram": sentencepiece_oracle,
    "tokenizers/thai-wangchanberta-spm": sentencepiece_oracle,
    "models/babyllama-tok105": sentencepiece_oracle,
    "models/stories260K": sentencepiece_oracle,
    "tokenizers/focus-cebuano-bpe-50k": tokenizers_oracle,
    "tokenizers/gpt-neox-20b": tokenizers_oracle,
    "tokenizers/gpt2-thai": tokenizers_oracle,
    "tokenizers/gptj-base": tokenizers_oracle,
    "tokenizers/openllama": tokenizers_oracle,
    "tokenizers/gptj-thai-merged": pair_oracle,
    "tokenizers/qwen2": pair_oracle,
    "tokenizers/cl100k-tiktoken": tiktoken_oracle,
    "tokenizers/gpt2-tiktoken": tiktoken_oracle,
    "tokenizers/o200k-tiktoken": tiktoken_oracle,
}
ODD = [*PROBES, "", " ", "\n", "\0", "a\u2028b", "\ufeffx", "x" * 2000, " " * 500, "é" * 300, "<s> </s> ▁▁"]
LOSSLESS = {"gptj-base", "gptj-thai-merged", "gpt2-thai", "cl100k-tiktoken", "gpt2-tiktoken", "o200k-tiktoken"}
LOSSLESS_IN_NFC = {"qwen2", "gpt-neox-20b"}


def oracle_of(shared: Path, name: str) -> Encode:
    make = FOLDERS[name]
    if make is pair_oracle:
        return make(shared / name)
    pattern = "*.model" if make is sentencepiece_oracle else "*.json" if make is tokenizers_oracle else "*.tiktoken"
    (file,) = (shared / name).glob(pattern)
    return make(file)


@cache
def flores(shared: Path) -> tuple[list[str], list[str]]:
    """Every third sentence of FLORES dev in each language, and where it stands."""
    texts: list[str] = []
    places: list[str] = []
    for path in sorted((shared / "data/flores200/dev").glob("*.txt")):
        lines = path.read_text("utf-8").split("\n")[:-1]
        texts += lines[::3]  # all of them took a minute of the suite
        places += [f"{path.name}:{number}" for number in range(1, len(lines) + 1, 3)]
    return texts, places


def test_every_shared_tokenizer_is_checked(shared: Path) -> None:
    folders = {f"tokenizers/{p.name}" for p in (shared / "tokenizers").iterdir() if p.is_dir() and p.name != "vectors"}
    assert folders | {"models/babyllama-tok105", "models/stories260K"} == set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_are_the_engines_own_on_flores_and_on_odd_text(shared: Path, name: str) -> None:
    tokenizer = load_tokenizer(shared / name)
    texts, places = flores(shared)
    assert len(texts) == 26 * 333
    # A "<s>" in the text is a special token to tokenizers by default; the tests of `special` have such texts.
    odd = [text for text in ODD if not any(token in text for token in tokenizer.special_ids)]
    texts, places = texts + odd, places + [repr(text) for text in odd]
    ours = tokenizer.encode_batch(texts)
    theirs = oracle_of(shared, name)(texts)
    differing = [place for place, a, b in zip(places, ours, theirs, strict=True) if a != list(b)]
    assert differing == []
    if Path(name).name in LOSSLESS:
        assert [tokenizer.decode(ids) for ids in ours[::7]] == texts[::7]
    if Path(name).name in LOSSLESS_IN_NFC:
        assert [tokenizer.decode(ids) for ids in ours[::7]] == [unicodedata.normalize("NFC", t) for t in texts[::7]]


@pytest.mark.parametrize(
    ("vectors", "folder"), [("qwen2", "qwen2"), ("gpt-2", "gpt2-tiktoken"), ("gpt-2", "gptj-base")]
)
def test_reference_vectors_of_llama_cpp(shared: Path, vectors: str, folder: str) -> None:
    texts = (shared / f"tokenizers/vectors/{vectors}.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")[:-1]
    expected = (shared / f"tokenizers/vectors/{vectors}.out").read_text().splitlines()
    ids = load_tokenizer(shared / "tokenizers" / folder).encode_batch(texts)
    assert [" ".join(map(str, row)) for row in ids] == [line.strip() for line in expected]
    assert len(ids) >= 40


def test_qwen2_without_its_tokenizer_class_would_differ(shared: Path, tmp_path: Path) -> None:
    # Guards the test above: the class of tokenizer_config.json is what chooses the pre-tokenizer.
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).symlink_to(shared / "tokenizers/qwen2" / file)
    bare, named = load_tokenizer(tmp_path), load_tokenizer(shared / "tokenizers/qwen2")
    assert bare.encode("1234 don'T") != named.encode("1234 don'T")
    assert "GPT-2" in bare.notes[0]
    assert named.notes == []


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_portable_patterns_split_as_tiktokens_do(shared: Path, name: str) -> None:
    import regex

    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PRESETS[name].portable), "isolated")
    texts = [*PROBES, *flores(shared)[0][::50], "a\n\n  ", "x \n  ", "12345 \r\n 6", "a\u3000\n\t ", "It'S ſ'ſ 'LLa"]
    for text in texts:
        assert [part for part, _ in split.pre_tokenize_str(text)] == regex.findall(PRESETS[name].pattern, text)


def test_a_preset_gives_bare_gpt2_files_the_ids_of_the_rank_file(shared: Path, tmp_path: Path) -> None:
    # r50k_base.tiktoken and GPT-2's vocab.json hold the same ranks; GPT-J's tokenizer.json has GPT-2's model.
    model = json.loads((shared / "tokenizers/gptj-base/tokenizer.json").read_text("utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(model["merges"]) + "\n", "utf-8")
    by_merges = load_tokenizer(tmp_path, pattern="r50k_base")
    by_ranks = load_tokenizer(shared / "tokenizers/gpt2-tiktoken")
    texts = [*PROBES, "a\n\n  "]
    assert by_merges.encode_batch(texts) == by_ranks.encode_batch(texts)
    assert by_merges.eos_id == by_ranks.eos_id == 50256
