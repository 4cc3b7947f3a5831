"""What is done to one document on its own: repair, language, quality, benchmarks; and the key of its exact copies.

Nothing here depends on another document, so batches go to any number of processes and come back the same. The order
is the order of cost, after the repair that all of them need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord, Record, check_training, with_keys
from seatools.text.cleaning.contamination import BenchmarkTexts
from seatools.text.cleaning.exact_duplicates import exact_key
from seatools.text.cleaning.language_tiers import Identified, LanguageTier
from seatools.text.cleaning.options import CleaningOptions
from seatools.text.cleaning.quality import load_rules
from seatools.text.cleaning.rejection import Rejection
from seatools.text.cleaning.repair import joined_text, repair_record, repairer
from seatools.text.language_tags import meant
from seatools.text.scripts import scripts_of_language


class Checked(NamedTuple):
    """A document after its checks."""

    raw: bytes | None
    """Its line if it changed."""
    lang: str | None
    """As declared, else as identified."""
    key: bytes | None
    rejection: Rejection | None
    is_undeclared: bool = False
    """Neither the record nor its source names a language that can be checked."""


class DocumentChecks:
    """The checks that the options ask for. `warnings`: what the user should know of them before anything is read.

    Errors: UsageError for a language that the tier cannot tell, SeaError for files and extras that are not there.
    """

    def __init__(self, options: CleaningOptions) -> None:
        self.options = options
        self.warnings: list[str] = []
        self.benchmarks = BenchmarkTexts(list(options.decontaminate)) if options.decontaminate else None
        if self.benchmarks is not None and self.benchmarks.num_short:
            self.warnings.append(
                f"{self.benchmarks.num_short:,} of {self.benchmarks.num_short + self.benchmarks.num_texts:,} texts of "
                "the benchmarks are too short to be looked for"
            )
        self._open()
        for tag in options.lang:
            if self._tier is not None and not self._tier.knows(tag):
                scripts = scripts_of_language(tag)
                if options.lang_id != "script" or scripts is None:
                    fix = "a code such as th, lo or en; --lang-id cld2 and fasttext:FILE know more of them than script"
                    fix = f"did you mean {code}?" if (code := meant(tag, self._tier.known)) else fix
                    raise UsageError(f"--lang-id {options.lang_id} does not know {tag}", fix=fix)
                self.warnings.append(
                    f"--lang {tag}: its script ({' or '.join(scripts)}) is all that --lang-id script can check"
                )

    def __getstate__(self) -> dict[str, object]:
        return {"options": self.options, "warnings": self.warnings, "benchmarks": self.benchmarks}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        """What is cheaper to make again than to send to another process."""
        options = self.options
        self._repair = repairer(options.normalize, options.zero_width)
        self._repairs = options.normalize != "none" or options.zero_width != "none"
        self._tier = LanguageTier(options.lang_id) if options.identifies else None
        self._quality = load_rules(options.quality_rules) if options.quality else None

    def check_lines(self, lines: Sequence[tuple[bytes, str | None]]) -> list[Checked]:
        """`check` for lines with their labels, parsed here: what another process is sent."""
        return [self.check(Record(raw, orjson.loads(raw), "", 0), label) for raw, label in lines]

    def check(self, record: Record, label: str | None) -> Checked:
        """One text or chat record; `label` is the language of its source, which the record's own `lang` overrides."""
        options = self.options
        came = record.raw
        if self._repairs:
            record = repair_record(record, self._repair)
            if record.raw is not came:
                try:
                    check_training(record.value)
                except BadRecord as error:
                    return Checked(record.raw, label, None, Rejection("empty.v1", detail=error.what))
        text = joined_text(record.value)
        own = record.value.get("lang")
        declared = own if isinstance(own, str) and own else label
        found = self._tier.identify(text) if self._tier is not None else Identified(None, None)
        if options.write_lang and not own and (lang := found.lang or label):
            record = Record(with_keys(record.raw, {"lang": lang}), record.value, record.path, record.line)
        lang = declared or found.lang
        rejection = self._language(found, declared)
        if rejection is None and self._quality is not None:
            rejection = self._quality.check(text, lang)
        if rejection is None and self.benchmarks is not None:
            rejection = self.benchmarks.check(text)
        key = exact_key(text) if options.exact and rejection is None else None
        unchecked = declared is None or not self._checkable(declared)
        return Checked(record.raw if record.raw is not came else None, lang, key, rejection, unchecked)

    def _checkable(self, declared: str) -> bool:
        """Whether it can be told that a document is not in this language."""
        return self._tier is None or self._tier.knows(declared) or scripts_of_language(declared) is not None

    def _language(self, found: Identified, declared: str | None) -> Rejection | None:
        tier, options = self._tier, self.options
        if tier is None:
            return None
        value = found.lang or found.script or "und"
        if options.lang and not any(tier.is_in(found, tag) for tag in options.lang):
            return Rejection("lang.v1", value, ",".join(options.lang))
        if options.lang_check and declared is not None and not tier.agrees(found, declared):
            return Rejection("lang_check.v1", value, declared)
        return None
