"""How long tokens are, in characters: the distribution over a text or a vocabulary, and its picture as inline SVG.

A token that holds no whole character is "part"; spaces count; tokens of no bytes (UNK, special) are left out. The
picture has a fixed size, so that its letters are legible on the narrowest screen, and its numbers stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seatools.text.piece_table import PieceTable

LONGEST = 12
"""Characters; longer ones are counted together."""
LABELS = ("part", *map(str, range(1, LONGEST + 1)), f"{LONGEST + 1}+")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 320, 150, 34, 8, 34


def length_classes(table: PieceTable) -> np.ndarray:
    """[ids] int64: place in LABELS, -1 for tokens without bytes."""
    lengths = np.fromiter((len(piece.decode("utf-8", "ignore")) for piece in table.pieces), np.int64)
    return np.where(table.num_bytes == 0, -1, np.minimum(lengths, LONGEST + 1))


def length_shares(classes: np.ndarray, histogram: np.ndarray | None = None) -> list[float] | None:
    """[LABELS] shares of the tokens, None if there are none.

    `classes`: of `length_classes`; `histogram` [ids]: how often each occurs, None: each once.
    """
    weights = np.ones(len(classes), np.int64) if histogram is None else histogram
    kept = classes >= 0
    counts = np.bincount(classes[kept], weights[kept], len(LABELS))
    total = counts.sum()
    return (counts / total).tolist() if total else None


def length_chart(series: Sequence[tuple[str, Sequence[float]]], title: str) -> str:
    """An `<svg>` of bars side by side, a colour (class s0, s1, ...) for each of `series` (name, shares)."""
    most = max(max(shares) for _, shares in series)
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5) if most <= 4 * step or step == 0.5)
    top = step * max(1, math.ceil(most / step - 1e-9))
    wide, high = _WIDTH - _LEFT - 4, _HEIGHT - _TOP - _BOTTOM
    slot = wide / len(LABELS)
    bar = (slot - 3) / len(series)
    base = _TOP + high
    parts = [
        f'<svg class="lengths" role="img" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"<title>{escape(title)}</title>"
    ]
    for number in range(round(top / step) + 1):
        y = base - high * number * step / top
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - 4}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 4}" y="{y + 4:.1f}">{number * step:.0%}</text>')
    for place, label in enumerate(LABELS):
        x = _LEFT + slot * place
        for number, (_, shares) in enumerate(series):
            tall = high * shares[place] / top
            if tall:
                left = x + 1.5 + bar * number
                parts.append(
                    f'<rect class="s{number % 6}" x="{left:.1f}" y="{base - tall:.2f}" '
                    f'width="{max(bar - 0.5, 1):.1f}" height="{tall:.2f}"/>'
                )
        parts.append(f'<text class="mid" x="{x + slot / 2:.1f}" y="{base + 14}">{label}</text>')
    parts.append(f'<text class="mid" x="{_LEFT + wide / 2:.0f}" y="{_HEIGHT - 5}">characters of a token</text></svg>')
    return "".join(parts)
