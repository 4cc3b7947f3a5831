"""Text as arrays of characters: grapheme clusters (UAX 29), white space, UTF-8 lengths, for millions of them at once.

One look-up a character gives one byte of properties; where clusters begin then follows from each pair of neighbours,
and, where such characters occur at all, from the runs that GB9c (Indic conjuncts), GB11 (emoji joined by ZWJ) and GB12
and 13 (flags) speak of. Properties come from the `regex` package, asked once for each character that occurs, and its
`\\X` is the oracle of the tests. Cost: 7 ns a character, where `\\X` needs 150.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_MAX = 0x110000
_UNKNOWN = 0xFF
_SPACE = 0x20
_CLASS = 0x1F
_BREAKS = (
    "CR", "LF", "Control", "Extend", "ZWJ", "Prepend", "SpacingMark", "L", "V", "T", "LV", "LVT", "Regional_Indicator"
)  # fmt: skip
_SECOND = {
    "InCB=Linker": "Linker", "InCB=Consonant": "Consonant", "InCB=Extend": "Extend", "ExtPict": "Pictographic"
}  # fmt: skip
# (Grapheme_Cluster_Break, Indic_Conjunct_Break or Extended_Pictographic): the classes that occur. The last three are
# those whose clusters no pair of neighbours decides.
_CLASSES: tuple[tuple[str, str], ...] = (
    ("", ""), *((name, "") for name in _BREAKS[:-1]), ("Extend", "Extend"), ("ZWJ", "Extend"), ("Extend", "Linker"),
    ("", "Linker"), ("", "Consonant"), ("", "Pictographic"), ("Regional_Indicator", ""),
)  # fmt: skip
_NUMBER = {pair: number for number, pair in enumerate(_CLASSES)}
_CONTROL = _NUMBER["Control", ""]
_CONSONANT, _PICTOGRAPH, _INDICATOR = range(len(_CLASSES) - 3, len(_CLASSES))


def code_points(text: str) -> np.ndarray:
    """[characters] uint32, or uint8 for ASCII. Errors: UnicodeEncodeError for a lone surrogate."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


class Characters:
    """The properties of a text's characters. `separators`: positions to treat as white space that always breaks."""

    def __init__(self, text: str, separators: np.ndarray | None = None) -> None:
        codes = code_points(text)
        table = _table()
        found = table[codes]
        unknown = found == _UNKNOWN
        if unknown.any():
            _learn(table, codes[unknown])
            found = table[codes]
        if separators is not None:
            found[separators] = _CONTROL | _SPACE
        self._found = found

    @property
    def is_space(self) -> np.ndarray:
        """[characters] bool: what `str.split` cuts at."""
        return (self._found & _SPACE) != 0

    @property
    def num_bytes(self) -> np.ndarray:
        """[characters] uint8: how many bytes of UTF-8 each takes, 1 to 4."""
        return (self._found >> 6) + np.uint8(1)

    def begins_cluster(self) -> np.ndarray:
        """[characters] bool: where a grapheme cluster begins."""
        classes = self._found & _CLASS
        begins = np.ones(len(classes), bool)
        pairs = classes[:-1].astype(np.uint16)
        pairs *= len(_CLASSES)
        pairs += classes[1:]
        begins[1:] = _pair_breaks()[pairs]
        if (classes >= _CONSONANT).any():
            self._join_conjuncts(classes, begins)
            self._join_emoji(classes, begins)
            self._join_flags(classes, begins)
        return begins

    @staticmethod
    def _join_conjuncts(classes: np.ndarray, begins: np.ndarray) -> None:
        """GB9c as `regex` has it: a run of extenders with a linker among them, then a consonant."""
        linker = _second("Linker")[classes]
        if not linker.any():
            return
        last_linker, last_other = _last(linker), _last(~(linker | _second("Extend")[classes]))
        at = np.flatnonzero(classes[1:] == _CONSONANT) + 1
        begins[at[last_linker[at - 1] > last_other[at - 1]]] = False

    @staticmethod
    def _join_emoji(classes: np.ndarray, begins: np.ndarray) -> None:
        """GB11: pictograph, extenders, ZWJ, pictograph."""
        at = np.flatnonzero(classes[1:] == _PICTOGRAPH) + 1
        at = at[_first("ZWJ")[classes[at - 1]] & (at >= 2)]
        if len(at):
            before = _last(~_first("Extend")[classes])[at - 2]  # the last character that is no extender
            begins[at[(before >= 0) & (classes[before] == _PICTOGRAPH)]] = False

    @staticmethod
    def _join_flags(classes: np.ndarray, begins: np.ndarray) -> None:
        """GB12, GB13: regional indicators pair up from the start of their run."""
        at = np.flatnonzero(classes == _INDICATOR)
        if len(at):
            begins[at[(at - _last(classes != _INDICATOR)[at]) % 2 == 0]] = False


def _last(mask: np.ndarray) -> np.ndarray:
    """[n] int64: for each position the last one up to it where the mask holds, -1 if there is none."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))


def _first(name: str) -> np.ndarray:
    """[classes] bool: those with this Grapheme_Cluster_Break."""
    return np.array([first == name for first, _ in _CLASSES])


def _second(name: str) -> np.ndarray:
    """[classes] bool: those with this second property."""
    return np.array([second == name for _, second in _CLASSES])


@cache
def _pair_breaks() -> np.ndarray:
    """[classes * classes] bool: whether a cluster ends between two neighbours, by GB3 to GB9b and GB999."""

    def breaks(first: str, second: str) -> bool:
        if (first, second) == ("CR", "LF"):
            return False
        if {first, second} & {"CR", "LF", "Control"}:
            return True
        hangul = {"L": ("L", "V", "LV", "LVT"), "LV": ("V", "T"), "V": ("V", "T"), "LVT": ("T",), "T": ("T",)}
        return not (second in hangul.get(first, ()) or second in ("Extend", "ZWJ", "SpacingMark") or first == "Prepend")

    return np.array([breaks(first, second) for first, _ in _CLASSES for second, _ in _CLASSES])


@cache
def _table() -> np.ndarray:
    """[code points] uint8: class, white-space bit, and UTF-8 length - 1 in the upper two bits; 0xFF: not yet asked."""
    return np.full(_MAX, _UNKNOWN, np.uint8)


def _learn(table: np.ndarray, codes: np.ndarray) -> None:
    import regex

    text = "".join(map(chr, np.unique(codes).tolist()))
    classes: dict[str, list[str]] = {char: ["", ""] for char in text}
    breaks = {f"GCB={name}": name for name in _BREAKS}
    for place, names in enumerate((breaks, _SECOND)):
        for name, value in names.items():
            for char in regex.findall(rf"\p{{{name}}}", text):
                classes[char][place] = value
    for char, (first, other) in classes.items():
        length = len(char.encode())
        table[ord(char)] = _NUMBER[first, other] | (_SPACE if char.isspace() else 0) | (length - 1) << 6
