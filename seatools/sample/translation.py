"""Prompts for languages that have none: the model translates them first, and what is no translation is a reject.

The instruction comes from a TOML file, in English and in the target language (`data/translation.toml`, or the user's
own). Translations are greedy. Nobody reads them before the model is trained on answers to them, so each is checked: it
must have ended by itself, say something, differ from its source, and be in the script of the target language; where
both languages share a script, CLD2 (the `lid` extra, where it is installed) must not take it for the source's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from seatools.streams.errors import UsageError
from seatools.streams.parsed import parse_toml
from seatools.streams.records import BadRecord
from seatools.text.identify import identify, same_language
from seatools.text.scripts import script_counts, scripts_of_language

_IN_SCRIPT = 0.5  # of the letters: names, code and units stay in Latin letters in any language


@dataclass(frozen=True)
class TranslationPrompts:
    """How to ask for a translation from `source` (a language tag)."""

    table: Mapping[str, Any]
    source: str
    digest: str
    """Of the file, 16 hex digits."""
    path: str

    def entry(self, lang: str) -> Mapping[str, str]:
        """The entry of a language. Raises UsageError where there is none."""
        code = re.split("[-_]", lang.lower())[0]
        for name, entry in self.table.items():
            if isinstance(entry, Mapping) and (name == code or code in entry.get("also", ())):
                return entry
        known = sorted(name for name, entry in self.table.items() if isinstance(entry, Mapping))
        raise UsageError(
            f'no translation prompt for "{lang}": there are {", ".join(known)}',
            where=self.path,
            fix="a copy of the file with an entry of its own, and --translation-prompts FILE",
        )

    def ask(self, text: str, lang: str, *, chat: bool) -> str:
        """What the model is asked so that it translates `text` into `lang`."""
        entry, names = self.entry(lang), {"source": self.entry(self.source)["name"]}
        names["target"] = entry["name"]
        values = names | {"english": _filled(self.table["english"], names), "native": entry["instruction"]}
        return _filled(self.table["chat" if chat else "plain"], values | {"text": text})

    @property
    def plain_stops(self) -> tuple[str, ...]:
        """What ends a translation by a model without a chat template."""
        return "\n\n", f"\n{self.entry(self.source)['name']}:"


def _filled(form: str, values: Mapping[str, str]) -> str:
    """`str.format` for these names only: a prompt may hold braces."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), form)


def read_translation_prompts(path: Path | None, source: str) -> TranslationPrompts:
    """The file given, or ours. Raises UsageError for one that cannot be used, or that does not know `source`."""
    place = path if path is not None else resources.files("seatools.sample").joinpath("data", "translation.toml")
    try:
        content = place.read_bytes()
        table = parse_toml(content.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}", fix="--translation-prompts names a TOML file") from error
    except ValueError as error:
        raise UsageError(f"{place}: not TOML: {error}", fix="--translation-prompts names a TOML file") from error
    for name in ("chat", "plain", "english"):
        form = table.get(name)
        if not isinstance(form, str) or (name != "english" and "{text}" not in form):
            raise UsageError(f'{place}: "{name}" is missing or has no {{text}} in it', fix=f'{name} = "... {{text}}"')
    for name, entry in table.items():
        if isinstance(entry, dict) and not all(isinstance(entry.get(key), str) for key in ("name", "instruction")):
            raise UsageError(f"{place}: [{name}] needs a name and an instruction")
    found = TranslationPrompts(table, source, hashlib.sha256(content).hexdigest()[:16], str(place))
    found.entry(source)
    return found


def is_identified() -> bool:
    """Whether languages of one script are told apart: CLD2 is installed."""
    return importlib.util.find_spec("pycld2") is not None


def check_translation(text: str, source_text: str, finish: str, *, source: str, target: str) -> None:
    """Raises BadRecord for what is no translation of `source_text` from language `source` into `target`."""
    if finish == "length":
        raise BadRecord("translation cut off", "the translation does not end", fix="a higher --translation-tokens")
    if not text.strip():
        raise BadRecord("empty translation", "the translation is empty")
    if _plain(text) == _plain(source_text) and any(script_counts(source_text).values()):
        raise BadRecord("translation like its source", "the translation is the source again")
    scripts = scripts_of_language(target)
    if scripts is not None and script_counts(source_text).total():
        counts = script_counts(text)
        share = sum(counts[script] for script in scripts) / max(counts.total(), 1)
        if share < _IN_SCRIPT:
            what = f"{share:.0%} of its letters are {' or '.join(scripts)}"
            raise BadRecord("translation in another script", f"the translation is not in {target}: {what}")
    told_apart = is_identified() and same_language(source) != same_language(target)
    if told_apart and scripts == scripts_of_language(source) and identify(text) == same_language(source):
        raise BadRecord("translation in another language", f"the translation is in {source}, not in {target}")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip("\"'“”‘’")
