"""Records with answers: what was there, byte for byte, and `responses`, `sampling` and the prompt that was asked.

`prompt` is what the model was asked, so that `judge` and `dpo` read the same: it is written where the record has none
(a chat record), and in place of the record's where a system turn, `--chat` or a translation has changed it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from seatools.sample.answers import Outcome
from seatools.sample.prompts import prompt_of
from seatools.sample.questions import Asker
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord, Record, Rejects, with_keys


def output_line(record: Record, outcome: Outcome, asker: Asker, run: Mapping[str, Any]) -> bytes:
    """The line of a record, without its end. `run`: `run_settings`."""
    value, options = record.value, asker.options
    new: dict[str, Any] = {}
    if asker.translation is not None:
        new = {"source_prompt": prompt_of(value), "source_lang": options.from_lang, "prompt": outcome.prompt}
        if options.lang is not None and value.get("lang") != options.lang:
            new["lang"] = options.lang
    elif (asked := asker.asked(prompt_of(value))) != value.get("prompt"):
        new = {"prompt": asked}
    sampling: dict[str, Any] = {"model": run["model"], "engine": outcome.engine}
    if asker.documents is not None:
        sampling = {name: run[name] for name in ("model", "tokenizer", "template", "dtype") if run[name] is not None}
        sampling |= {"model": str(run["model"])[:16], "engine": outcome.engine}
    sampling |= options.told
    if asker.translation is not None:
        sampling["translation"] = {"prompts": asker.translation.digest, "max_new_tokens": options.translation_tokens}
    if outcome.scores is not None:
        sampling["scores"] = list(outcome.scores)
    sampling["finish"] = list(outcome.finish)
    return with_keys(record.raw, {**new, "responses": list(outcome.responses), "sampling": sampling})


class Written:
    """Counts what goes out and what does not."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"prompts": 0, "responses": 0, "cut_off": 0, "empty": 0}
        self.dropped: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """A record with its answers."""
        self.counts["prompts"] += 1
        self.counts["responses"] += len(outcome.responses)
        self.counts["cut_off"] += outcome.finish.count("length")
        self.counts["empty"] += sum(not text.strip() for text in outcome.responses)

    def refuse(self, record: Record, reject: tuple[str, str], rejects: Rejects) -> None:
        """A record without answers: the model's doing, which `--on-error fail` does not stop for."""
        reason, what = reject
        if rejects.on_error == "fail":
            self.dropped[reason] += 1
        else:
            rejects.refuse(record, BadRecord(reason, what))

    def why(self, rejects: Rejects) -> str:
        """The reasons for which records have no answers, with their counts."""
        return ", ".join(f"{reason} {count}" for reason, count in sorted((self.dropped + rejects.counts).items()))

    def tell(self, messages: Messages, max_new_tokens: int) -> None:
        """What came out, in a line or two."""
        if self.dropped:
            messages.warn(f"{self.dropped.total():,} prompts have no answers ({self.why(Rejects())})")
        counts = self.counts
        if counts["cut_off"] or counts["empty"]:
            answers = "1 answer" if counts["responses"] == 1 else f"{counts['responses']:,} answers"
            messages.info(
                f"{answers}: {counts['cut_off']:,} cut off at --max-new-tokens {max_new_tokens}, "
                f"{counts['empty']:,} empty"
            )
