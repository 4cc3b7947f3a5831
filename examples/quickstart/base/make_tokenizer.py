"""How the files of this folder were made: a SentencePiece BPE of the English lines, and the same as tokenizer.json.

    python examples/quickstart/base/make_tokenizer.py        (from the repository, in its .venv)

The merges of tokenizer.json are every split of every piece in the order of the pieces' scores, because sentencepiece
merges any adjacent pair whose concatenation is a piece, best score first.
"""

from __future__ import annotations

import json
from pathlib import Path

import sentencepiece

HERE = Path(__file__).resolve().parent
SPECIAL = ("<unk>", "<s>", "</s>")


def train_model() -> bytes:
    """The bytes of tokenizer.model: 256 byte pieces, 3 special ones, and the BPE of the 300 training lines."""
    lines = (HERE.parent / "texts" / "en.txt").read_text(encoding="utf-8").splitlines()[:300]
    path = HERE / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(path),
        model_type="bpe",
        vocab_size=448,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    (HERE / "tokenizer.vocab").unlink()
    return (HERE / "tokenizer.model").read_bytes()


def as_json(model: bytes) -> dict[str, object]:
    """tokenizer.json with the same ids."""
    engine = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [engine.id_to_piece(i) for i in range(engine.get_piece_size())]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    special = {i for i in range(len(pieces)) if engine.is_control(i) or engine.is_byte(i) or engine.is_unknown(i)}
    ordinary = [i for i in range(len(pieces)) if i not in special]
    merges = [
        [pieces[i][:cut], pieces[i][cut:]]
        for i in sorted(ordinary, key=lambda i: -engine.get_score(i))
        for cut in range(1, len(pieces[i]))
        if pieces[i][:cut] in vocabulary and pieces[i][cut:] in vocabulary
    ]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": piece, **added} for i, piece in enumerate(SPECIAL)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


if __name__ == "__main__":
    made = as_json(train_model())
    (HERE / "tokenizer.json").write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
