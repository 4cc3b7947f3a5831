"""The whole of `sea embed-init`: a plan from headers and tokenizers, then the folder.

Only the weight files with the embedding or the head are written anew; the others are copied, or hard-linked. Old
tokenizer files, other copies of the weights (pickles, GGUF, Mistral's consolidated files) and records of earlier runs
stay behind: beside the new tokenizer they would be wrong. Memory: the new rows in fp32, and buffers.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seatools.embed_init.checkpoint import Checkpoint, read_checkpoint
from seatools.embed_init.donor_rows import Donor, open_donor
from seatools.embed_init.existing_tokens import EXISTING_TOKENS, ExistingTokens, read_existing_tokens, woken_in
from seatools.embed_init.initial_rows import InitialRows, NewRows
from seatools.embed_init.new_rows import Edits, make_edits, row_records
from seatools.embed_init.options import EmbedInitOptions
from seatools.embed_init.special_id_fields import check_special_ids, updated_config
from seatools.embed_init.subword_pieces import NEW_TOKENS, read_new_tokens, spell_tokens
from seatools.embed_init.token_map import TokenMap, check_fit, listed, match_tokens
from seatools.embed_init.user_text import text_files
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import dump
from seatools.streams.weight_files import Digests, write_weights
from seatools.streams.weight_headers import INDEX, OTHER_WEIGHTS, vocabulary_config
from seatools.text.tokenizer import Tokenizer

NEW_ROWS, DROPPED = "new_rows.jsonl", "dropped_tokens.jsonl"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_TOKENIZER_FILES = (
    "tokenizer*", "*.model", "*.tiktoken", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tekken.json", *_TEMPLATES,
)  # fmt: skip
_RECORDS = ("*.manifest.json", "metrics.jsonl", NEW_TOKENS, EXISTING_TOKENS, NEW_ROWS, DROPPED, ".*")
_JSON_CONFIGS = ("config.json", "generation_config.json")
_WHY = {"omp": "the donor does not have them", "focus": "too rare in the text", "distill": "not in the text"}


@dataclass(frozen=True)
class Plan:
    """What will be written, known without reading a tensor."""

    checkpoint: Checkpoint
    old: Tokenizer
    new: Tokenizer
    tokens: TokenMap
    num_rows: int
    rewritten: list[str]
    """Weight files with a tensor that changes."""
    kept: list[str]
    """Weight files that do not change."""
    copied: list[str]
    """Other files of MODEL that go along, among them MODEL's chat template if the new tokenizer has none."""
    left_out: list[str]
    existing: ExistingTokens = ExistingTokens()
    """What `--reinit` says."""
    donor: Donor | None = None
    text: dict[str, list[str]] = field(default_factory=dict)
    """Language -> files of `--text`."""

    @property
    def rows_to_make(self) -> list[int]:
        return sorted({*self.tokens.new, *self.existing.pieces})

    @property
    def text_paths(self) -> list[Path]:
        return [Path(path) for paths in self.text.values() for path in paths]

    @property
    def changes_rows(self) -> bool:
        return self.num_rows != self.checkpoint.num_rows or bool(self.rows_to_make) or self.tokens.num_moved > 0

    @property
    def new_tokens_path(self) -> Path:
        """What `sea vocab-extend` wrote beside the new tokenizer, if it did."""
        return (self.new.path if self.new.path.is_dir() else self.new.path.parent) / NEW_TOKENS

    def new_size(self, file: str) -> int:
        """Bytes of a weight file's tensors after the change."""
        size = sum(tensor.num_bytes for tensor in self.checkpoint.files[file])
        for tensor in self.checkpoint.vocabulary_tensors:
            if tensor.path.name == file:
                size += tensor.num_bytes // self.checkpoint.num_rows * (self.num_rows - self.checkpoint.num_rows)
        return size


def make_plan(model: Path, old: Tokenizer, new: Tokenizer, options: EmbedInitOptions) -> Plan:
    """Read headers, match the vocabularies, refuse what cannot be right. See `read_checkpoint` and `check_fit`."""
    checkpoint = read_checkpoint(model)
    if checkpoint.tied and options.head_method not in (None, options.method):
        raise UsageError(
            f"the head of {model} is tied to the embedding: it cannot have a method of its own",
            fix="leave out --head-method",
        )
    check_special_ids(checkpoint.config, old)
    tokens = match_tokens(old, new)
    check_fit(checkpoint.num_rows, old, new, tokens)
    existing = ExistingTokens()
    if options.reinit is not None:
        existing = read_existing_tokens(Path(options.reinit), new, tokens, options.reinit_reasons)
    donor = None
    if options.donor is not None:
        trained = set(tokens.old_in_use) - existing.untrained
        donor = open_donor(Path(options.donor), old, new, {*tokens.new, *existing.pieces}, trained)
    text = text_files(options.text)
    multiple = options.pad_to_multiple
    num_rows = -(-max(checkpoint.num_rows, new.vocab_size) // multiple) * multiple
    touched = {tensor.path.name for tensor in checkpoint.vocabulary_tensors}
    plan = Plan(checkpoint, old, new, tokens, num_rows, [], [], [], [], existing, donor, text)
    for name in checkpoint.files:
        (plan.rewritten if plan.changes_rows and name in touched else plan.kept).append(name)
    keep_template = not _has_template(new)
    for path in sorted(model.iterdir()):
        name = path.name
        if name in checkpoint.files or (name == INDEX and checkpoint.index is not None):
            continue
        if name in _JSON_CONFIGS or (name in _TEMPLATES and keep_template):
            plan.copied.append(name)
        elif not path.is_file() or any(fnmatch(name, mask) for mask in (*OTHER_WEIGHTS, *_RECORDS)):
            plan.left_out.append(name + "/" * path.is_dir())
        elif not any(fnmatch(name, mask) for mask in _TOKENIZER_FILES):
            plan.copied.append(name)
    return plan


def _has_template(tokenizer: Tokenizer) -> bool:
    for file in tokenizer.files:
        if file.name in _TEMPLATES:
            return True
        if file.name == "tokenizer_config.json" and json.loads(file.read_bytes()).get("chat_template"):
            return True
    return False


def write_folder(
    plan: Plan, options: EmbedInitOptions, folder: Path, messages: Messages, device: str = "cpu"
) -> tuple[dict[str, Any], dict[str, Digests]]:
    """Fill the empty `folder`; returns the counts for the manifest, and the digests of the weight files by name."""
    checkpoint, tokens, existing = plan.checkpoint, plan.tokens, plan.existing
    listed_pieces = read_new_tokens(plan.new_tokens_path) | existing.pieces
    pieces, num_wrong = spell_tokens(plan.old, plan.new, plan.rows_to_make, listed_pieces, existing.untrained)
    if num_wrong:
        messages.warn(
            f"{plan.new_tokens_path}: the pieces of {num_wrong:,} tokens do not spell them in {plan.old.path}; "
            "found by encoding instead"
        )
    if options.reinit is None and (woken := woken_in(plan.new_tokens_path.parent / EXISTING_TOKENS)):
        path = plan.new_tokens_path.parent / EXISTING_TOKENS
        messages.warn(f"{path} lists {woken:,} woken tokens, whose rows were never trained: --reinit {path}")
    rows = NewRows(checkpoint, tokens, pieces, plan.num_rows, frozenset(existing.pieces), existing.untrained)
    initial = InitialRows(
        rows, options, plan.old, plan.new, donor=plan.donor, text=plan.text, device=device, messages=messages
    )
    edits = make_edits(initial) if plan.rewritten else Edits({}, [], [])
    rewritten = {name: checkpoint.files[name] for name in plan.rewritten}
    with ThreadPoolExecutor(1) as background:  # the nearest old rows are computed while the disk is busy
        records = background.submit(lambda: [dump(record) + b"\n" for record in row_records(initial, edits)])
        digests = write_weights(checkpoint.folder, folder, rewritten, plan.kept, edits.tensors, link=options.link)
    for name in plan.copied:
        shutil.copyfile(checkpoint.folder / name, folder / name)
    _write_index(plan, folder)
    _write_configs(plan, folder, messages)
    plan.new.save(folder)
    (folder / NEW_ROWS).write_bytes(b"".join(records.result()))
    if tokens.dropped:
        lines = [dump({"token": plan.old.piece(id), "id": id}) + b"\n" for id in tokens.dropped]
        (folder / DROPPED).write_bytes(b"".join(lines))
    _warn_of_others(plan, options, edits, pieces, messages)
    counts = {
        "old_rows": checkpoint.num_rows,
        "rows": plan.num_rows,
        "kept_tokens": len(tokens.old_id) - len(existing.pieces),
        "moved_tokens": tokens.num_moved,
        "new_tokens": len(tokens.new),
        "reinit_tokens": len(existing.pieces),
        "dropped_tokens": len(tokens.dropped),
        "unspelled_tokens": sum(not pieces[id] and bool(plan.new.piece_bytes(id)) for id in plan.rows_to_make),
        "rewritten_files": len(plan.rewritten),
        "methods": dict(sorted(Counter(edits.used).items())),
        "head_methods": {} if checkpoint.tied else dict(sorted(Counter(edits.used_head).items())),
    }
    return counts, digests


def _warn_of_others(
    plan: Plan, options: EmbedInitOptions, edits: Edits, pieces: dict[int, list[int]], messages: Messages
) -> None:
    """Say which rows have another method than was asked for. That special tokens get the mean is in the help."""
    matrices = {"": (options.method, edits.used)}
    if not plan.checkpoint.tied:
        matrices["head: "] = (options.head, edits.used_head)
    for matrix, (method, used) in matrices.items():
        others = [
            id
            for id, real in zip(plan.rows_to_make, used, strict=True)
            if real != method and (pieces[id] or plan.new.piece_bytes(id))
        ]
        unspelled = [id for id in others if not pieces[id]]
        if unspelled:
            messages.warn(
                f"{matrix}{plan.old.path} cannot spell {len(unspelled):,} new tokens, which get the mean of all rows: "
                + listed(plan.new, unspelled)
            )
        if len(others) > len(unspelled):
            rest = [id for id in others if pieces[id]]
            messages.warn(
                f"{matrix}{method} does not reach {len(rest):,} tokens ({_WHY.get(method, '')}), which get their "
                f"sub-word mean: {listed(plan.new, rest)}"
            )


def _write_index(plan: Plan, folder: Path) -> None:
    index = plan.checkpoint.index
    if index is None:
        return
    metadata = dict(index.get("metadata") or {})
    metadata["total_size"] = sum(plan.new_size(name) for name in plan.checkpoint.files)
    if type(metadata.get("total_parameters")) is int:
        grown = plan.num_rows - plan.checkpoint.num_rows
        for tensor in plan.checkpoint.vocabulary_tensors:
            metadata["total_parameters"] += grown * (tensor.shape[1] if len(tensor.shape) == 2 else 1)
    _write_json(folder / INDEX, index | {"metadata": metadata})


def _write_configs(plan: Plan, folder: Path, messages: Messages) -> None:
    """Write config.json and generation_config.json anew where the change shows in them."""
    for name in _JSON_CONFIGS:
        path = folder / name
        if not path.exists():
            continue
        config = json.loads(path.read_bytes())
        updated, lost = updated_config(config, plan.tokens, plan.checkpoint.num_rows, plan.num_rows)
        if name == "config.json" and "vocab_size" not in (*config, *vocabulary_config(config)):
            vocabulary_config(updated)["vocab_size"] = plan.num_rows
        if lost:
            messages.warn(f"{name}: {', '.join(lost)} named a token that {plan.new.path} does not have; removed")
        if updated != config:
            path.unlink()
            _write_json(path, updated)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
