"""One spelling for texts that look the same: NFC, and the vowel AM of Thai and Lao in one piece."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """NFC, and the Thai and Lao AM as one character, which NFKC (SentencePiece's default) has taken apart: คํา -> คำ."""
    return unicodedata.normalize("NFC", text).replace("\u0e4d\u0e32", "\u0e33").replace("\u0ecd\u0eb2", "\u0eb3")
