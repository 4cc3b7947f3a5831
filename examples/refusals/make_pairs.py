"""Refusal pairs from templates: a question about a place that does not exist, refusal chosen, invention rejected.

    python3 make_pairs.py templates.toml OUT        (standard library only)

writes OUT/facts.jsonl (every real place as chat: what the model knows), OUT/refusals.jsonl (a few invented ones as
chat, because preference training raises what the model can already say and no model can say what it never read),
OUT/preferences.jsonl (invented places: refusal chosen, invention rejected; every second real one: answer chosen,
refusal rejected, or the model learns to refuse everything) and OUT/test.LANG.jsonl (SeaRefuse's form: other invented
names, and the other real places). The names of test and training share syllables only. All follows from the seed.
"""

from __future__ import annotations

import json
import random
import sys
import tomllib
from pathlib import Path
from typing import Any

TOLD, PREFERRED, TESTED = 4, 96, 32  # invented names of each language: as chat, in pairs, in the test
SYLLABLES, SEED = (2, 3), 0  # of a name


def invented_names(table: dict[str, Any], count: int, draw: random.Random) -> list[str]:
    """`count` different names, none of which is, or begins with, a real place's."""
    real = [place.casefold() for place, _ in table["places"]]
    names: list[str] = []
    while len(names) < count:
        parts = draw.sample(table["syllables"], draw.choice(SYLLABLES))
        name = parts[0] + "".join(part.lower() for part in parts[1:])
        name = table.get("invented_as", "{name}").format(name=name[0].upper() + name[1:])
        if name not in names and not any(name.casefold().startswith(place) for place in real):
            names.append(name)
    return names


def records(lang: str, table: dict[str, Any], draw: random.Random) -> dict[str, list[Any]]:
    """The records of one language by the file that they belong to."""
    facts: list[Any] = []
    told: list[Any] = []
    pairs: list[Any] = []
    test: list[Any] = []
    capitals = [capital for _, capital in table["places"]]

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    for number, (place, capital) in enumerate(table["places"]):
        answer, refusal = table["answer"].format(place=place, capital=capital), table["refuse"].format(place=place)
        for ask in table["ask"]:
            question = ask.format(place=place)
            facts.append({"messages": turn("user", question) + turn("assistant", answer), "lang": lang})
            if number % 2 == 0:
                pairs.append({"prompt": turn("user", question), "chosen": turn("assistant", answer),
                              "rejected": turn("assistant", refusal), "lang": lang})  # fmt: skip
            else:
                test.append({"question": question, "answerable": True, "lang": lang})
    for number, name in enumerate(invented_names(table, TOLD + PREFERRED + TESTED, draw)):
        question, refusal = draw.choice(table["ask"]).format(place=name), table["refuse"].format(place=name)
        if number < TOLD:
            told.append({"messages": turn("user", question) + turn("assistant", refusal), "lang": lang})
        elif number < TOLD + PREFERRED:
            made_up = table["answer"].format(place=name, capital=draw.choice(capitals))
            pairs.append({"prompt": turn("user", question), "chosen": turn("assistant", refusal),
                          "rejected": turn("assistant", made_up), "lang": lang})  # fmt: skip
        else:
            test.append({"question": question, "answerable": False, "lang": lang})
    return {"facts": facts, "refusals": told, "preferences": pairs, f"test.{lang}": test}


def main(templates: str, out: str) -> None:
    """Write the files."""
    draw = random.Random(SEED)
    files: dict[str, list[Any]] = {}
    for lang, table in tomllib.loads(Path(templates).read_text(encoding="utf-8")).items():
        for name, rows in records(lang, table, draw).items():
            files.setdefault(name, []).extend(rows)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        draw.shuffle(rows)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
