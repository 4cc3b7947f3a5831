"""Line-aligned files (FLORES, NTREX) as translation items: every ordered pair of languages, line by line.

The lines are paired by their numbers, so an empty line in one file drops that line's pairs and shifts nothing. SeaLLMs
3 scores all ordered pairs of twelve languages (papers.md 2.7); `pairs` names fewer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from seatools.eval.number_formats import base_language
from seatools.eval.sources import Source
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, Rejects

Pair = tuple[str, str]


def parse_pair(text: str) -> Pair:
    """ "en-th", "eng_Latn-tha_Thai", "zho-CN>th" -> (source, target)."""
    source, sign, target = text.partition(">") if ">" in text else text.partition("-")
    if not (sign and re.fullmatch(r"[A-Za-z][\w-]*", source) and re.fullmatch(r"[A-Za-z][\w-]*", target)):
        raise UsageError(f'"{text}" is no pair of languages', fix="SOURCE-TARGET, as in en-th (or en>th)")
    return source, target


def aligned(sources: Sequence[Source]) -> dict[str, dict[int, Record]]:
    """Language -> line number -> record. Raises SeaError for files of different lengths, or two of one language."""
    lines: dict[str, dict[int, Record]] = {}
    for source in sources:
        if source.lang in lines or len(source.paths) != 1:
            raise UsageError(f"one file a language for aligned lines; {source.lang} has several", fix="LANG=FILE each")
        lines[source.lang] = {record.line: record for record in source.records}
    if len(lines) < 2:
        raise UsageError(
            "translation of aligned lines needs two languages or more", fix="--data en=FILE --data th=FILE"
        )
    ends = {lang: max(own) for lang, own in lines.items()}
    longest = max(ends, key=lambda lang: ends[lang])
    for lang, end in ends.items():
        if end != ends[longest]:
            first = next(iter(lines[lang].values()))
            raise SeaError(
                f"{lang} ends at line {end:,}, {longest} at line {ends[longest]:,}: the files are not line-aligned",
                where=first.where.rpartition(":")[0],
            )
    return lines


def chosen_pairs(langs: Sequence[str], pairs: Sequence[Pair] | None) -> list[Pair]:
    """The ordered pairs to translate; all of them where none are named.

    Raises UsageError for a language without data.
    """
    if pairs is None:
        return [(source, target) for source in langs for target in langs if source != target]
    chosen = []
    for pair in pairs:
        found = [_named(name, langs) for name in pair]
        if found[0] is None or found[1] is None or found[0] == found[1]:
            raise UsageError(f"no data for the pair {'-'.join(pair)}", fix=f"the languages are {', '.join(langs)}")
        chosen.append((found[0], found[1]))
    return list(dict.fromkeys(chosen))


def _named(name: str, langs: Sequence[str]) -> str | None:
    same = [own for own in langs if own == name] or [own for own in langs if base_language(own) == base_language(name)]
    return same[0] if same else None


def sentence_pairs(
    lines: dict[str, dict[int, Record]], pair: Pair, rejects: Rejects, limit: int | None
) -> Iterator[tuple[Record, str, str]]:
    """(the source's record, its text, the target's text) for the lines that both languages have."""
    source, target = lines[pair[0]], lines[pair[1]]
    number = 0
    for line in sorted(source.keys() | target.keys()):
        if limit is not None and number >= limit:
            return
        here = source.get(line) or target[line]
        if line not in source or line not in target:
            missing = pair[0] if line not in source else pair[1]
            rejects.refuse(here, BadRecord("empty line", f"line {line:,} of {missing} is empty"))
            continue
        number += 1
        yield source[line], str(source[line].value["text"]).strip(), str(target[line].value["text"]).strip()
