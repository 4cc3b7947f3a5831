"""Do `tokenizer.model` and `tokenizer.json` of one folder say the same? Pieces must, encodings should.

An id with two pieces would train the wrong rows, so it is an error. Encodings that differ are common in the wild and
known (merge lists rebuilt from a SentencePiece model order equal scores otherwise: huggingface/transformers#28259), so
they are counted on the probe texts below and reported. Cost: two dict look-ups a piece, some 30 short texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from seatools.streams.errors import SeaError
from seatools.text.special_tokens import AddedToken

_PLAIN = (
    "All human beings are born free and equal in dignity and rights.",
    "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Ang tanang mga tawo gipakatawo nga may kagawasan.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ น้ำ กำลัง",
    "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ",
    "လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်",
    "មនុស្សទាំងអស់កើតមកមានសេរីភាព",
    "எல்லா மனிதர்களும் சுதந்திரமாகவே பிறக்கின்றனர்",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "Все люди рождаются свободными и равными.",
    "人人生而自由,在尊严和权利上一律平等。",
    "すべての人間は、生まれながらにして自由である。",
    "모든 인간은 태어날 때부터 자유로우며",
    "Minden emberi lény szabadon születik",
)
PROBES: tuple[str, ...] = (
    *_PLAIN,
    *(unicodedata.normalize("NFD", text) for text in (_PLAIN[2], _PLAIN[4], _PLAIN[13], _PLAIN[14])),
    "1 12 123 1234 12345.67 2026-11-21 ๑๒๓ 3.14e-10",
    "😀 👩‍👩‍👧‍👦 🇹🇭 ❤️ ©®™",
    "a  b   c    d                e",
    " leading", "trailing ", "  both  ",
    "line one\nline two\n\n\nline five\r\n\ttab",
    "don't DON'T can’t we'll I'd",
    "def f(x):\n    return x ** 2  # https://example.org/?q=a&b=%20",
    "ﬁ ½ ① ＡＢＣ \u00a0 \u200b \u3000 ▁",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ==================",
)  # fmt: skip


def check_same_pieces(
    model_pieces: list[str], vocabulary: dict[str, int], added: Iterable[AddedToken], model_path: Path, json_path: Path
) -> None:
    """`SeaError` for the first id whose piece differs between the files. Added tokens may rename ids."""
    fix = f"one of the two files is not this model's: give {model_path} or {json_path} alone"
    renamed = {token.id for token in added}
    by_id = {id: piece for piece, id in vocabulary.items()}
    for id, piece in enumerate(model_pieces):
        other = vocabulary.get(piece)
        if other is not None and other != id:
            raise SeaError(f"{piece!r} has id {id} in {model_path} and {other} in {json_path}", fix=fix)
        if other is None and id not in renamed:
            says = f"has {by_id[id]!r}" if id in by_id else "has nothing"
            raise SeaError(f"id {id} is {piece!r} in {model_path}; {json_path} {says} there", fix=fix)
    beyond = sorted(id for id in by_id if id >= len(model_pieces) and id not in renamed)
    if beyond:
        raise SeaError(
            f"{json_path} has {len(beyond)} pieces that {model_path} lacks, as {by_id[beyond[0]]!r} (id {beyond[0]})",
            fix=fix,
        )


def compare_encodings(
    model: Callable[[list[str]], list[list[int]]], json: Callable[[list[str]], list[list[int]]]
) -> str | None:
    """A sentence on the probe texts that tokenizer.model and tokenizer.json encode differently, or None."""
    texts = list(PROBES)
    by_model, by_json = model(texts), json(texts)
    differing = [number for number in range(len(texts)) if by_model[number] != by_json[number]]
    if not differing:
        return None
    first = differing[0]
    return (
        f"tokenizer.json gives other ids than tokenizer.model, which is used, for {len(differing)} of {len(texts)} "
        f"probe texts; the first is {texts[first]!r} ({len(by_json[first])} ids and {len(by_model[first])})"
    )
