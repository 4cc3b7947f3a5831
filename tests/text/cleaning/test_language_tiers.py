"""The three tiers: what each knows, what it says of real lines, and what counts as agreement."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.cleaning.language_tiers import Identified, LanguageTier, script_tier


def write_fasttext(path: Path, words: dict[str, str]) -> None:
    """A supervised model without subwords in fastText's own format (version 12): each word speaks for one label."""
    labels = sorted(set(words.values()))
    entries = [(word, 0) for word in ("</s>", *words)] + [(f"__label__{label}", 1) for label in labels]
    num_words, dim = len(words) + 1, len(labels)
    inputs, outputs = np.zeros((num_words, dim), np.float32), 40 * np.eye(dim, dtype=np.float32)
    for row, label in enumerate(words.values(), 1):
        inputs[row, labels.index(label)] = 1
    with path.open("wb") as stream:
        stream.write(struct.pack("<2i", 793712314, 12))
        stream.write(struct.pack("<12id", dim, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4))  # softmax, supervised
        stream.write(struct.pack("<3i2q", len(entries), num_words, len(labels), 10, -1))
        for name, kind in entries:
            stream.write(name.encode() + b"\0" + struct.pack("<qb", 1, kind))
        for matrix in (inputs, outputs):
            stream.write(struct.pack("<?2q", False, *matrix.shape) + matrix.tobytes())


@pytest.mark.parametrize(
    ("text", "lang", "script"),
    [
        ("สวัสดีครับ hello", "th", "Thai"),
        ("Tất cả mọi người sinh ra đều được tự do", "vi", "Latin"),
        ("Semua orang dilahirkan merdeka", None, "Latin"),
        ("こんにちは世界", "ja", "Hiragana"),
        ("人人生而自由", "zh", "Han"),
        ("Все люди рождаются", None, "Cyrillic"),
        ("ၵူၼ်းၵူႈၵေႃႉၼႆႉ", "shn", "Myanmar"),
        ("1234 !?", None, None),
    ],
)
def test_script_tier(text, lang, script):
    assert script_tier(text) == Identified(lang, script)


def test_script_tier_on_real_lines(shared):
    lines = {lang: _flores(shared, name) for lang, name in _NAMES.items()}
    for lang, texts in lines.items():
        assert sum(script_tier(text).lang == lang for text in texts) >= 0.96 * len(texts), lang


def test_zawgyi_is_not_shan(shared):
    import json

    texts = [json.loads(line)["text"] for line in (shared / "data/mono/my_voa.jsonl").open(encoding="utf-8")]
    assert {script_tier(text).lang for text in texts} == {"my"}


def test_what_agrees_by_script():
    tier = LanguageTier("script")
    latin, thai, vietnamese = Identified(None, "Latin"), Identified("th", "Thai"), Identified("vi", "Latin")
    assert tier.agrees(latin, "id") and tier.agrees(thai, "tha_Thai") and tier.agrees(vietnamese, "vi-VN")
    assert not tier.agrees(thai, "id") and not tier.agrees(latin, "th") and not tier.agrees(vietnamese, "id")
    assert not tier.agrees(thai, "lo")
    assert tier.agrees(Identified(None, None), "th")  # digits only: no sign of another language
    assert tier.agrees(thai, "xyz")  # of this language nothing is known
    assert tier.is_in(latin, "en") and not tier.is_in(latin, "th")
    assert not tier.is_in(Identified(None, None), "th")


def test_cld2_and_what_it_does_not_know(shared):
    pytest.importorskip("pycld2")
    tier = LanguageTier("cld2")
    assert tier.knows("zsm_Latn") and not tier.knows("shn")
    texts = _flores(shared, "shn_Mymr")
    assert sum(tier.identify(text).lang == "shn" for text in texts) >= 0.95 * len(texts)
    malay = tier.identify(" ".join(_flores(shared, "zsm_Latn")))
    assert malay.lang == "id" and tier.agrees(malay, "ms") and tier.agrees(malay, "id") and not tier.agrees(malay, "en")
    assert tier.agrees(malay, "min")  # unknown to CLD2, and the script fits


def test_fasttext_reads_a_model_of_the_users(tmp_path):
    pytest.importorskip("fasttext")
    path = tmp_path / "lid.bin"
    write_fasttext(path, {"hello": "eng_Latn", "halo": "ind_Latn", "selamat": "zsm_Latn", "bonjour": "fr"})
    tier = LanguageTier(f"fasttext:{path}")
    assert set(tier.known) == {"en", "id", "fr"}
    assert tier.identify("hello\nhello").lang == "en"
    assert tier.identify("selamat").lang == "id"
    assert tier.identify("qwerty zxcv").lang is None  # all labels alike: below a half
    assert tier.identify("สวัสดี").lang == "th"  # the model knows no Thai: its script is sure
    assert tier.identify("12").lang is None


@pytest.mark.parametrize("name", ["", "langid", "fasttext", "fasttext:", "cld2:x", "script:y"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match="no language identifier"):
        LanguageTier(name)


def test_a_file_that_is_no_model(tmp_path):
    pytest.importorskip("fasttext")
    path = tmp_path / "x.bin"
    with pytest.raises(SeaError, match="no such file"):
        LanguageTier(f"fasttext:{path}")
    path.write_bytes(b"not a model")
    with pytest.raises(SeaError, match="no fastText model"):
        LanguageTier(f"fasttext:{path}")


_NAMES = {
    "th": "tha_Thai", "lo": "lao_Laoo", "km": "khm_Khmr", "my": "mya_Mymr", "vi": "vie_Latn", "ta": "tam_Taml",
    "zh": "zho_Hans", "ja": "jpn_Jpan", "shn": "shn_Mymr", None: "ind_Latn",
}  # fmt: skip


def _flores(shared: Path, name: str) -> list[str]:
    return (shared / f"data/flores200/dev/{name}.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")[:300]
