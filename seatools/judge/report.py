"""How consistent the judge was, per language: the share of pairs whose two orders named the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatools.judge.both_orders import Verdict, agreement
from seatools.streams.messages import Messages


def report(
    langs: Sequence[str],
    verdicts: Sequence[Verdict],
    dropped: Mapping[str, int],
    messages: Messages,
    *,
    near_chance: float,
) -> dict[str, Any]:
    """Say it on stderr, warn near chance, and return the counts for the manifest."""
    counts: dict[str, Any] = {}
    for lang in sorted(set(langs)):
        own = [verdict for name, verdict in zip(langs, verdicts, strict=True) if name == lang]
        share = agreement(own)
        first = sum((verdict.forward > 0) + (verdict.backward > 0) for verdict in own) / (2 * len(own))
        kept = sum(verdict.agrees for verdict in own)
        counts[lang] = {"pairs": len(own), "kept": kept, "agreement": round(share, 4), "first_label": round(first, 4)}
        messages.info(f"{lang}: {kept} of {len(own)} pairs kept, the orders agree on {100 * share:.0f} %")
        if share < near_chance:
            messages.warn(f"{lang}: agreement {100 * share:.0f} % does not clearly beat guessing (50 %)")
    for reason, count in sorted(dropped.items()):
        messages.info(f"not judged: {count} ({reason})")
    return counts
