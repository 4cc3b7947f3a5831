"""Is a text written in the script of its language? The check that catches `--lang th=english.txt`.

A language whose script cannot be known is not judged. Latin text cannot be told apart by this: English under the
label `id` goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable

from seatools.text.scripts import script_counts, scripts_of_language

ENOUGH = 0.5
MIN_LETTERS = 50


def script_warning(lang: str, texts: Iterable[str]) -> str | None:
    """A sentence if less than half of the letters of `texts` are of the script of `lang`, else None."""
    scripts = scripts_of_language(lang)
    if scripts is None:
        return None
    counts = script_counts("".join(texts))
    letters, own = counts.total(), sum(counts[script] for script in scripts)
    if letters < MIN_LETTERS or own >= ENOUGH * letters:
        return None
    most, num_most = counts.most_common(1)[0]
    return (
        f"{lang}: {100 * own / letters:.0f} % of the letters are of its script ({', '.join(scripts)}); "
        f"{100 * num_most / letters:.0f} % are {most}: is this text of another language?"
    )
