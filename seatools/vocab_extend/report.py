"""What `--report` writes and the command says: everything measured, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.corpus import Corpus
from seatools.vocab_extend.drift import Drift
from seatools.vocab_extend.extension import ExtendOptions, Extension


def report(
    tokenizer: Tokenizer,
    extension: Extension,
    corpus: Corpus,
    options: ExtendOptions,
    *,
    expected: Mapping[str, float],
    measured: Mapping[str, Drift],
    cutting: Mapping[str, Drift],
    existing: Mapping[str, int],
) -> dict[str, Any]:
    """The report. `expected`: protected language -> estimated drift; `measured`, `cutting`: language -> drift of its
    text, of the whole extension and of the pre-tokenizer alone; `existing`: reason -> old tokens.
    """
    proof, learned = extension.proof, extension.learned
    origins: dict[str, int] = {}
    for token in extension.tokens:
        origins[token.origin] = origins.get(token.origin, 0) + 1
    num_steps = sum(not proof.counts[token.id] for token in extension.tokens)
    return {
        "base": {"path": str(tokenizer.path), "kind": tokenizer.kind, "digest": tokenizer.digest()},
        "base_vocab_size": tokenizer.vocab_size,
        "vocab_size": extension.vocab_size,
        "rows": extension.rows,
        "padding_rows": extension.rows - extension.vocab_size,
        "new_tokens": len(extension.tokens),
        "reused_ids": sum(token.id < tokenizer.vocab_size for token in extension.tokens),
        "origins": origins,
        "only_inside_longer_ones": num_steps,
        "method": options.method,
        "spent": learned.spent,
        "reached": learned.reached,
        "exhausted": learned.exhausted,
        "languages": {
            lang: asdict(row)
            | {
                "base_bytes_per_token": round(row.num_bytes / max(1, row.base_tokens), 4),
                "new_bytes_per_token": round(row.num_bytes / max(1, row.new_tokens), 4),
            }
            for lang, row in proof.languages.items()
        },
        "checks": {
            "distinct_words": proof.num_words,
            "running_documents": proof.num_running,
            "unreachable": 0,
            "taken_out_as_unreachable": len(extension.dropped),
            "words_of_other_expansion": proof.other_expansion,
            "words_engines_compared": proof.num_compared,
            "words_engines_disagree": proof.disagreements,
            "words_engines_disagree_base": proof.base_disagreements,
        },
        "protected": {
            lang: {
                "docs": corpus.words["protect", lang].num_docs,
                "changed_words": proof.protected_drift.get(lang, 0.0),
                "expected_drift_of_unseen_docs": round(expected.get(lang, 0.0), 6),
            }
            for lang in corpus.langs("protect")
        },
        "refused_merges": len(set(extension.refused)),
        "measured": {
            lang: asdict(drift) | {"given_docs": corpus.words["measure", lang].num_docs}
            for lang, drift in measured.items()
        },
        "pretokenizer_alone": {lang: asdict(drift) for lang, drift in cutting.items()},
        "existing_tokens": dict(existing),
    }
