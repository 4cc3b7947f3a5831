"""A tokenizer without text: how large it is, for which writing systems it has tokens, and which of them do nothing.

`byte_tokens` are pieces of one byte that is no ASCII character (byte fallback: all 256); `incomplete_tokens` cut a
character; `unused_ids` have no piece; `duplicate_tokens` decode to the text of a smaller id. What is dormant and what
unreachable: `text/reachability.py`; the faults of merges: `merges.py`. Cost: 2 s for 150,000 tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from seatools.audit.merges import merge_faults
from seatools.text.piece_table import PieceTable
from seatools.text.reachability import added_ids, ordinary_ids, unreachable_tokens
from seatools.text.scripts import main_script
from seatools.text.tokenizer import Tokenizer

# What `--list` names -> the measure that counts it, in the order of the table.
KINDS = {
    "special": "special_tokens",
    "added": "added_tokens",
    "byte": "byte_tokens",
    "incomplete": "incomplete_tokens",
    "duplicate": "duplicate_tokens",
    "dormant": "dormant_tokens",
    "unreachable": "unreachable_tokens",
    "unmerged": "unmerged_tokens",
    "remade": "remade_tokens",
    "disordered": "disordered_tokens",
}
VOCABULARY_MEASURES = ("vocab_size", "unused_ids", *KINDS.values(), "merges", "idle_merges")


@dataclass
class Vocabulary:
    """What was found."""

    values: dict[str, float]
    """Measure -> value."""
    scripts: dict[str, int]
    """Script -> tokens with most letters in it, the largest first."""
    dormant_scripts: dict[str, int]
    """The dormant ones among them."""
    kinds: dict[str, list[int]]
    """Of KINDS -> ids."""
    texts: dict[int, str]
    """Id -> text of every token that is not special and does not cut a character."""

    def tokens(self, kind: str, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
        """One record a token of a kind: `token` as the file spells it, `id`, `bytes` (hex), `text`, `script`."""
        for id in self.kinds.get(kind, ()):
            text = self.texts.get(id)
            yield {
                "token": tokenizer.piece(id),
                "id": id,
                "bytes": tokenizer.piece_bytes(id).hex(),
                "kind": kind,
                "text": text,
                "script": None if text is None else main_script(text),
            }


def analyse(tokenizer: Tokenizer) -> Vocabulary:
    """Look at every id."""
    table = PieceTable(tokenizer)
    ids = ordinary_ids(tokenizer)
    added = added_ids(tokenizer)
    kinds: dict[str, list[int]] = {"special": sorted(set(tokenizer.special_ids.values())), "added": sorted(added)}
    single = [id for id in ids if table.is_incomplete[id] and table.num_bytes[id] == 1]
    kinds["byte"] = sorted({*tokenizer.byte_ids, *single})
    kinds["incomplete"] = [id for id in ids if table.is_incomplete[id] and table.num_bytes[id] > 1]
    kinds["duplicate"] = _duplicates(table, sorted({*ids, *added}))
    reasons = unreachable_tokens(tokenizer)
    for reason in ("dormant", "unreachable"):
        kinds[reason] = [id for id, why in reasons.items() if why == reason]
    made = {id for id in ids if reasons.get(id) != "unreachable"}
    faults = merge_faults(tokenizer, ids, made)
    if faults is not None:
        kinds |= {"unmerged": faults.unmerged, "disordered": faults.disordered}
        if faults.num_merges is not None:
            kinds["remade"] = faults.remade
    texts = {id: table.pieces[id].decode() for id in [*ids, *sorted(added)] if not table.is_incomplete[id]}
    used = {*ids, *added, *kinds["special"], *tokenizer.byte_ids, tokenizer.unk_id} - {None}
    values: dict[str, float] = {"vocab_size": tokenizer.vocab_size, "unused_ids": tokenizer.vocab_size - len(used)}
    values |= {measure: len(kinds[kind]) for kind, measure in KINDS.items() if kind in kinds}
    if faults is not None and faults.num_merges is not None:
        values |= {"merges": faults.num_merges, "idle_merges": faults.num_idle or 0}
    return Vocabulary(values, _scripts(texts, texts), _scripts(texts, kinds["dormant"]), kinds, texts)


def _duplicates(table: PieceTable, ids: Collection[int]) -> list[int]:
    first: dict[bytes, int] = {}
    return [id for id in ids if table.pieces[id] and first.setdefault(table.pieces[id], id) != id]


def _scripts(texts: dict[int, str], ids: Collection[int]) -> dict[str, int]:
    found: Counter[str | None] = Counter(main_script(texts[id]) for id in ids)
    named = [(script, count) for script, count in found.items() if script is not None]
    return dict(sorted(named, key=lambda item: (-item[1], item[0])))
