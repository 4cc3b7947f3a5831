"""The report in a few lines on stderr."""

from __future__ import annotations

from typing import Any

from seatools.streams.messages import Messages
from seatools.vocab_extend.extension import NO_LIMIT, ExtendOptions


def say(body: dict[str, Any], options: ExtendOptions, messages: Messages) -> None:
    """Warnings, and with `quiet` off the figures. `body`: what `report.report` made."""
    num_new, checks = body["new_tokens"], body["checks"]
    if options.add != NO_LIMIT and num_new < options.add and not (body["reached"] and all(body["reached"].values())):
        messages.warn(
            f"only {num_new:,} of {options.add:,} tokens: no other pair that may be merged occurs "
            f"{options.min_count} times (--min-count)"
        )
    for lang in body["exhausted"] if num_new >= options.add else []:
        messages.warn(f"{lang}: too little text for its share of the tokens; the others got the rest")
    for lang, reached in body["reached"].items():
        if not reached:
            messages.warn(f"{lang}: does not reach its target")
    if checks["words_engines_disagree"] > checks["words_engines_disagree_base"]:
        messages.warn(
            f"sentencepiece and tokenizer.json differ on {checks['words_engines_disagree']:,} of "
            f"{checks['words_engines_compared']:,} distinct words (before: {checks['words_engines_disagree_base']:,})"
        )
    first = body["base_vocab_size"]
    num_reused = body["reused_ids"]
    ids = f"ids {first:,} to {body['vocab_size'] - 1:,}" if body["vocab_size"] > first else "no id beyond the base's"
    reused = f", {num_reused:,} on ids of the base that nothing reached" if num_reused else ""
    chars = body["origins"].get("char", 0)
    messages.info(
        f"{num_new:,} new tokens ({chars:,} characters), {ids}{reused}; "
        f"{body['only_inside_longer_ones']:,} occur only inside longer ones"
    )
    if options.pad_to_multiple > 1:
        messages.info(f"{body['rows']:,} rows, {body['padding_rows']:,} of them padding")
    for lang, row in body["languages"].items():
        lost = f", {row['base_unk'] / row['base_tokens']:.1%} of the tokens were UNK" if row["base_unk"] else ""
        spent = f", {body['spent'][lang]:,} tokens for it" if len(body["spent"]) > 1 else ""
        messages.info(
            f"{lang}: {row['base_bytes_per_token']:.2f} -> {row['new_bytes_per_token']:.2f} bytes per token, "
            f"{row['num_docs']:,} documents{spent}{lost}"
        )
    for lang, row in body["protected"].items():
        changed = (
            f"{row['changed_words']:.2%} of its words" if row["changed_words"] else f"0 of {row['docs']:,} documents"
        )
        messages.info(
            f"{lang}: protected, {changed} changed; about {row['expected_drift_of_unseen_docs']:.2%} of unseen "
            "documents like them will"
        )
    for lang, row in body["measured"].items():
        sampled = f" (a sample of {row['given_docs']:,})" if row["given_docs"] > row["num_docs"] else ""
        messages.info(
            f"{lang}: measured, {row['changed']:,} of {row['num_docs']:,} documents{sampled} changed, "
            f"{row['num_bytes'] / max(1, row['base_tokens']):.2f} -> "
            f"{row['num_bytes'] / max(1, row['new_tokens']):.2f} bytes per token"
        )
    for lang, row in body["pretokenizer_alone"].items():
        messages.info(
            f"{lang}: the pre-tokenizer alone changes {row['changed']:,} of {row['num_docs']:,} lines, "
            f"{row['num_bytes'] / max(1, row['base_tokens']):.2f} -> "
            f"{row['num_bytes'] / max(1, row['new_tokens']):.2f} bytes per token"
        )
    existing = body["existing_tokens"]
    if existing:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in existing.items())
        messages.info(f"old tokens whose rows were never trained: {listed} (existing_tokens.jsonl)")
