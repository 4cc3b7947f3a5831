"""How often each tier of language identification is right, by language, on NTREX lines and UDHR paragraphs.

    python benchmarks/language_id.py [--fasttext FILE] [--no-record]

Real text of ../shared/data: every line of NTREX (news, translated by people) and every paragraph of 20 characters or
more of UDHR in the languages of our tables. Right is the language itself, Indonesian and Malay being one; "not sure" is
not right. Documents mostly are longer than these lines, so this is a floor. The table between the markers of
docs/language-id.md is written anew; without --fasttext FILE its columns are left out. --no-record writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

from record import record

from seatools.text.cleaning.language_tiers import LanguageTier
from seatools.text.identify import same_language

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
PAGE = REPOSITORY / "docs/language-id.md"
BEGIN, END = "<!-- begin: benchmarks/language_id.py -->", "<!-- end -->"
LANGS = [
    "th", "lo", "km", "my", "shn", "vi", "id", "tl", "jv", "su", "ceb", "ilo", "min", "ban", "hmn", "en", "zh", "ja",
    "ta", "hi", "ar", "ru", "bg", "sr", "sl", "hu", "tr", "fr", "de", "sw",
]  # fmt: skip
# Other languages and scripts under these tags: Vietnamese in Han, Javanese in Javanese, Welche, Chimwiini, Kibajuni,
# Northern Qiandong.
OTHERS = ("vie_han", "jav_java", "068", "062", "063", "hea")

Lines = dict[str, list[str]]


def ntrex() -> Lines:
    """Language -> lines."""
    found: Lines = {}
    for path in sorted((SHARED / "data/ntrex").glob("*.txt")):
        if path.stem not in ("doc_ids", "line_numbers"):
            lines = path.read_text(encoding="utf-8").split("\n")
            found.setdefault(same_language(path.stem), []).extend(line for line in lines if line.strip())
    return found


def udhr() -> Lines:
    """Language -> paragraphs of all its versions."""
    found: Lines = defaultdict(list)
    for line in (SHARED / "data/udhr/udhr_all.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lang = same_language(row["bcp47"])
        if lang in LANGS and row["key"] not in OTHERS:
            found[lang].extend(text for text in row["paragraphs"] if len(text) >= 20)
    return dict(found)


def confusion(lines: Lines, tier: LanguageTier) -> dict[str, Counter[str]]:
    """Language -> what the tier said ("?": not sure)."""
    return {lang: Counter(tier.identify(text).lang or "?" for text in texts) for lang, texts in lines.items()}


def share(said: Counter[str] | None, lang: str, tier: LanguageTier) -> str:
    """A cell of the table: the share that is right; "-" for a language that the tier does not know."""
    return "" if said is None else f"{said[lang] / said.total():.3f}" if tier.knows(lang) else "-"


def page(
    sets: dict[str, Lines], tiers: dict[str, LanguageTier], found: dict[str, dict[str, dict[str, Counter[str]]]]
) -> str:
    """The two tables."""
    langs = sorted({lang for lines in sets.values() for lang in lines}, key=LANGS.index)
    head = ["language", *(f"{name} lines" for name in sets), *(f"{tier}, {name}" for tier in tiers for name in sets)]
    rows = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for lang in langs:
        counts = [f"{len(lines[lang]):,}" if lang in lines else "" for lines in sets.values()]
        cells = [share(found[tier][name].get(lang), lang, tiers[tier]) for tier in tiers for name in sets]
        rows.append("| " + " | ".join([lang, *counts, *cells]) + " |")
    rows += ["", "What was said instead, where it is 1 % of a language's lines or more (? is not sure):", ""]
    rows += ["| tier | set | language | said instead |", "|---|---|---|---|"]
    for tier in tiers:
        for name in sets:
            for lang in langs:
                said = found[tier][name].get(lang, Counter())
                wrong = [
                    f"{other} {count / said.total():.1%}"
                    for other, count in said.most_common()
                    if other != lang and count >= 0.01 * said.total() and (tiers[tier].knows(lang) or other != "?")
                ]
                if wrong:
                    rows.append(f"| {tier} | {name} | {lang} | {', '.join(wrong)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, write the page, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fasttext", help="lid.176.bin, lid.176.ftz, GlotLID: a model of your own")
    parser.add_argument("--no-record", action="store_true", help="only print: no record, and docs/ stays as it is")
    arguments = parser.parse_args()
    names = ["script", "cld2", *([f"fasttext:{arguments.fasttext}"] if arguments.fasttext else [])]
    sets = {"NTREX": ntrex(), "UDHR": udhr()}
    tiers = {name.partition(":")[0]: LanguageTier(name) for name in names}
    found = {name: {label: confusion(lines, tier) for label, lines in sets.items()} for name, tier in tiers.items()}
    accuracy = {
        tier: {
            label: {lang: said[lang] / said.total() for lang, said in langs.items()} for label, langs in by_set.items()
        }
        for tier, by_set in found.items()
    }
    for tier, by_set in accuracy.items():
        for label, langs in by_set.items():
            print(f"{tier:8} {label:6}", " ".join(f"{lang} {value:.3f}" for lang, value in langs.items()))
    if not arguments.no_record:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{page(sets, tiers, found)}\n{END}{rest.split(END)[1]}", encoding="utf-8")
        record("language_id", {"accuracy": accuracy, "fasttext": arguments.fasttext})


if __name__ == "__main__":
    main()
