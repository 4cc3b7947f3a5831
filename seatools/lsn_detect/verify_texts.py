"""The texts of a verification: `--data` read and tokenised before any model is loaded, and the prompts made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from seatools.engine.generate import SamplingOptions
from seatools.engine.load import model_positions
from seatools.lsn_detect.corpora import corpora_digests
from seatools.lsn_detect.output_language import OutputJudge, half_prompts
from seatools.lsn_detect.verify import Prompts, VerifyOptions
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats, shown_together
from seatools.streams.messages import Messages
from seatools.streams.records import RecordReader, Rejects
from seatools.text.documents import Documents
from seatools.text.scored_text import ScoredText, encode_texts, warn_of_lost_text
from seatools.text.stop_tokens import stop_ids

FEW_TEXTS = 30  # of fewer, a percentile interval is too narrow: by the factor sqrt((n - 1) / n), and by its tails


def named_files(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Files by language. UsageError for none, for one without language, and for a file that is named twice."""
    if not arguments:
        raise UsageError("no text to score", fix="--data th=FILE --data en=FILE")
    named: dict[str, list[str]] = {}
    for argument in arguments:
        lang, spec = parse_labelled(argument)
        if lang is None:
            raise UsageError(f'--data "{argument}" has no language', fix=f"--data th={argument}")
        named.setdefault(lang, []).extend(expand(spec))
    refuse_repeats([path for paths in named.values() for path in paths])
    return named


def warn_of_known_text(
    named: Mapping[str, Sequence[str]], metadata: Mapping[str, str], where: str, messages: Messages
) -> None:
    """Say so where a language's files are those that its neurons were found on, by digest; `where`: the neuron file.

    Pipes are left alone, which can be read once only. Raises UsageError where two languages have the same text.
    """
    files = {lang: paths for lang, paths in named.items() if all(os.path.isfile(path) for path in paths)}
    try:
        known = json.loads(metadata.get("corpora", "{}"))
        seen = [lang for lang, digest in corpora_digests(files).items() if known.get(lang) == digest]
    except (ValueError, AttributeError) as error:
        raise SeaError('its metadata has no valid "corpora"', where=where) from error
    if seen:
        messages.warn(f"{', '.join(seen)}: the text is that on which {where} was found, so it proves little")


def read_texts(
    lang: str, paths: list[str], documents: Documents, limit: int | None, rejects: Rejects, workers: int,
    messages: Messages,
) -> list[ScoredText]:  # fmt: skip
    """The texts of one language. SeaError for fewer than two, as an interval needs; `messages` warns of what is odd."""
    records = list(RecordReader(paths, rejects=rejects, limit=limit))
    texts = encode_texts(records, documents.tokenizer, rejects=rejects, workers=workers)
    if len(texts) < 2:
        raise SeaError(
            f"{lang}: {len(texts)} texts to score, and intervals need at least 2, better hundreds",
            where=shown_together(paths), fix="a text a line, not all in one",
        )  # fmt: skip
    if len(texts) < FEW_TEXTS:
        messages.warn(f"{lang}: {len(texts)} texts; intervals of so few are too narrow")
    warn_of_lost_text(texts, lang, messages.warn)
    return texts


def half_text_prompts(
    model_path: Path, texts: Mapping[str, Sequence[ScoredText]], documents: Documents, judge: OutputJudge,
    options: VerifyOptions, messages: Messages,
) -> Prompts:  # fmt: skip
    """What the model is to continue in each language. UsageError where its positions leave no room."""
    room = (model_positions(model_path) or 1 << 30) - options.max_new_tokens
    if room < 1:
        raise UsageError(
            f"--max-new-tokens {options.max_new_tokens} leaves no room for a prompt in the model's positions",
            fix="a lower one, or --outputs 0",
        )
    by_lang = {
        lang: half_prompts(
            [text.text for text in own], options.outputs, lambda half: documents.prompt_ids({"prompt": half}), room
        )
        for lang, own in texts.items()
    }
    alike = judge.cannot_tell(list(texts))
    if alike:
        messages.info(f"--lang-id {options.lang_id} does not tell {', '.join(alike)} apart in outputs; cld2 may")
    sampling = SamplingOptions(
        max_new_tokens=options.max_new_tokens, temperature=0.0, stop_ids=stop_ids(documents.tokenizer, model_path)
    )
    return Prompts(by_lang, sampling, judge)


def num_bytes_of(texts: Mapping[str, Sequence[ScoredText]]) -> dict[str, np.ndarray]:
    """UTF-8 bytes, float64 [texts], of each language."""
    return {lang: np.array([text.num_bytes for text in own], dtype=np.float64) for lang, own in texts.items()}
