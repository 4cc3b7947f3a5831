"""Extensions that are wrong must not pass: the ways that public tools extend a vocabulary (vocab-embed.md 1)."""

from __future__ import annotations

import json

import pytest
from counted_text import corpus_of, words_of

from seatools.streams.errors import CheckFailed
from seatools.text.byte_alphabet import spell
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.extension import ExtendOptions, learn, open_base
from seatools.vocab_extend.proof import prove_running, prove_words
from seatools.vocab_extend.tokenizer_files import write_extended

TEXT = {"th": ["กากา ขากา theab the", "กาขา กากา the ab xac xad xab"]}
PIECES = ["▁t", "he", "ab", "▁", "t", "h", "e", "a", "b", "c", "d", "x"]


def broken(base, folder, damage, texts=TEXT):
    opened = open_base(base)
    tokens = learn(opened, corpus_of(opened, texts), ExtendOptions(add=9, scripts=None))[2].tokens
    folder.mkdir()
    write_extended(base, tokens, folder)
    damage(folder, tokens)
    return tokens, load_tokenizer(folder)


def prove(base, extended, tokens, texts, protected):
    """Both proofs, as `extend` runs them."""
    old, new = open_base(base), open_base(extended)
    proof = prove_words(old, new, tokens, words_of(old, texts), words_of(old, protected))
    prove_running(base, extended, tokens, texts, protected, proof, law=old.law)
    return proof


def rewrite_merges(folder, change):
    head, *lines = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join([head, *change(lines)]) + "\n")


def test_the_sound_extension_passes(byte_level, tmp_path):
    base = load_tokenizer(byte_level(tmp_path / "base", [(b"t", b"h")]))
    tokens, extended = broken(base, tmp_path / "out", lambda folder, tokens: None)
    proof = prove(base, extended, tokens, TEXT, {"en": ["a z"]})
    assert proof.languages["th"].new_tokens < proof.languages["th"].base_tokens


def test_vocabulary_without_merges_fails(byte_level, tmp_path):
    base = load_tokenizer(byte_level(tmp_path / "base", [(b"t", b"h")]))
    damage = lambda folder, tokens: rewrite_merges(folder, lambda lines: lines[: -len(tokens)])  # noqa: E731
    tokens, extended = broken(base, tmp_path / "out", damage)
    assert prove(base, extended, tokens, TEXT, {}).unreachable == tokens


def test_vocabulary_without_merges_fails_under_ignore_merges(byte_level_json, tmp_path):
    def damage(folder, tokens):
        parsed = json.loads((folder / "tokenizer.json").read_text())
        parsed["model"]["merges"] = parsed["model"]["merges"][: -len(tokens)]
        (folder / "tokenizer.json").write_text(json.dumps(parsed))

    base = load_tokenizer(byte_level_json(tmp_path / "base", [(b"t", b"h")], ignore_merges=True))
    tokens, extended = broken(base, tmp_path / "out", damage)
    assert prove(base, extended, tokens, TEXT, {}).unreachable == tokens


def test_merges_before_the_base_merges_fail(byte_level, tmp_path):
    # "he" before "th" cuts "the" otherwise.
    base = load_tokenizer(byte_level(tmp_path / "base", [(b"t", b"h")]))

    def damage(folder, tokens):
        rewrite_merges(folder, lambda lines: [f"{spell(b'h')} {spell(b'e')}", *lines])
        vocabulary = json.loads((folder / "vocab.json").read_text())
        vocabulary["he"] = len(vocabulary)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))

    tokens, extended = broken(base, tmp_path / "out", damage)
    with pytest.raises(CheckFailed, match="does not expand to the base encoding"):
        prove(base, extended, tokens, TEXT, {})


def test_changed_protected_text_fails(byte_level, tmp_path):
    base = load_tokenizer(byte_level(tmp_path / "base", []))
    tokens, extended = broken(base, tmp_path / "out", lambda folder, tokens: None)
    with pytest.raises(CheckFailed, match=r"the protected word \(en\) 'the' is encoded otherwise"):
        prove(base, extended, tokens, TEXT, {"en": ["z", "the"]})


def test_scores_above_the_base_fail(sentencepiece_model, tmp_path):
    # Chinese-LLaMA's way: score 0. The new "▁xa" takes the "a" of the base's "ab" in sentencepiece, not in the JSON.
    base = load_tokenizer(sentencepiece_model(tmp_path / "base", PIECES, beside=True))

    def damage(folder, tokens):
        from sentencepiece import sentencepiece_model_pb2 as pb

        proto = pb.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
        for piece in proto.pieces[-len(tokens) :]:
            piece.score = 1.0
        (folder / "tokenizer.model").write_bytes(proto.SerializeToString())

    tokens, extended = broken(base, tmp_path / "out", damage)
    with pytest.raises(CheckFailed, match="is cut inside a token of the base"):
        prove(base, extended, tokens, TEXT, {})


def test_a_moved_special_token_fails(byte_level, tmp_path):
    base = load_tokenizer(byte_level(tmp_path / "base", [], ["<|end|>"]))

    def damage(folder, tokens):
        for name in ("vocab.json", "tokenizer_config.json"):
            text = (folder / name).read_text(encoding="utf-8").replace("<|end|>", "<|fin|>")
            (folder / name).write_text(text, encoding="utf-8")

    tokens, extended = broken(base, tmp_path / "out", damage)
    with pytest.raises(CheckFailed, match="a special token has lost its id"):
        prove(base, extended, tokens, TEXT, {})


def test_the_files_of_one_folder_must_agree(sentencepiece_model, tmp_path):
    base = load_tokenizer(sentencepiece_model(tmp_path / "base", PIECES, beside=True))

    def damage(folder, tokens):
        parsed = json.loads((folder / "tokenizer.json").read_text())
        parsed["model"]["merges"] = parsed["model"]["merges"][:-3]
        (folder / "tokenizer.json").write_text(json.dumps(parsed))

    tokens, extended = broken(base, tmp_path / "out", damage)
    with pytest.raises(CheckFailed, match=r"sentencepiece and tokenizer.json differ on \d+ of \d+ words"):
        prove(base, extended, tokens, TEXT, {})


def test_rising_scores_disagree_with_what_transformers_makes_of_the_model(sentencepiece_model, tmp_path):
    # Ids in another order than the scores: transformers merges by id, sentencepiece by score.
    base = load_tokenizer(sentencepiece_model(tmp_path / "base", PIECES))
    tangled = {"en": ["xdx dxd xxd ddx dxx xdd dxdx xdxd dxxd xddx"] * 2}

    def damage(folder, tokens):
        from sentencepiece import sentencepiece_model_pb2 as pb

        proto = pb.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
        scores = [piece.score for piece in proto.pieces[-len(tokens) :]]
        for piece, score in zip(proto.pieces[-len(tokens) :], reversed(scores), strict=True):
            piece.score = score
        (folder / "tokenizer.model").write_bytes(proto.SerializeToString())

    tokens, extended = broken(base, tmp_path / "out", damage, tangled)
    with pytest.raises(CheckFailed, match="sentencepiece and tokenizer.json differ"):
        prove(base, extended, tokens, tangled, {})
