"""GPT-2's alphabet: every byte written as one printable character, so that byte strings fit into JSON.

Source: Radford et al. 2019, `openai/gpt-2:src/encoder.py` (`bytes_to_unicode`): printable Latin-1 characters stand for
themselves, the 68 other bytes for U+0100 and on, in order. A space is `Ġ`, a newline `Ċ`.
"""

from __future__ import annotations

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in set(_PRINTABLE)]

BYTE_TO_CHAR: dict[int, str] = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + rank) for rank, byte in enumerate(_OTHERS)
}
CHAR_TO_BYTE: dict[str, int] = {char: byte for byte, char in BYTE_TO_CHAR.items()}
# Latin-1 characters outside the alphabet become one that Latin-1 lacks.
_TO_LATIN = {code: 0xFFFF for code in range(256)} | {ord(char): byte for char, byte in CHAR_TO_BYTE.items()}


def spell(data: bytes) -> str:
    """A byte string in the alphabet."""
    return data.decode("latin-1").translate(BYTE_TO_CHAR)


def unspell(piece: str) -> bytes:
    """The inverse of `spell`; a piece with a character outside the alphabet is its own UTF-8, as in tokenizers."""
    try:
        return piece.translate(_TO_LATIN).encode("latin-1")
    except UnicodeEncodeError:
        return piece.encode()
