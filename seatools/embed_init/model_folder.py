"""The whole of `sea embed-init`: a plan from headers and tokenizers, then the folder.

Only the weight files with the embedding or the head are written anew; the others are copied, or hard-linked. Old
tokenizer files, other copies of the weights (pickles, GGUF, Mistral's consolidated files) and records of earlier runs
stay behind: beside the new tokenizer they would be wrong. Memory: the new rows in fp32, and buffers.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seatools.embed_init.checkpoint import INDEX, Checkpoint, read_checkpoint, vocabulary_config
from seatools.embed_init.new_rows import NewRows, make_edits, row_records
from seatools.embed_init.options import EmbedInitOptions
from seatools.embed_init.shard_rewrite import rewrite_shard
from seatools.embed_init.special_id_fields import updated_config
from seatools.embed_init.subword_pieces import NEW_TOKENS, read_new_tokens, spell_tokens
from seatools.embed_init.token_map import TokenMap, check_fit, listed, match_tokens
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import dump
from seatools.text.tokenizer import Tokenizer

NEW_ROWS, DROPPED = "new_rows.jsonl", "dropped_tokens.jsonl"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_TOKENIZER_FILES = (
    "tokenizer*", "*.model", "*.tiktoken", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tekken.json", *_TEMPLATES,
)  # fmt: skip
_OTHER_WEIGHTS = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.h5", "*.msgpack",
    "*.gguf", "*.onnx", "*.ckpt",
)  # fmt: skip
_RECORDS = ("*.manifest.json", "metrics.jsonl", NEW_TOKENS, NEW_ROWS, DROPPED, ".*")
_JSON_CONFIGS = ("config.json", "generation_config.json")


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

    @property
    def changes_rows(self) -> bool:
        return self.num_rows != self.checkpoint.num_rows or bool(self.tokens.new) or self.tokens.num_moved > 0

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
    tokens = match_tokens(old, new)
    check_fit(checkpoint.num_rows, old, new, tokens)
    multiple = options.pad_to_multiple
    num_rows = -(-max(checkpoint.num_rows, new.vocab_size) // multiple) * multiple
    touched = {tensor.path.name for tensor in checkpoint.vocabulary_tensors}
    plan = Plan(checkpoint, old, new, tokens, num_rows, [], [], [], [])
    for name in checkpoint.files:
        (plan.rewritten if plan.changes_rows and name in touched else plan.kept).append(name)
    keep_template = not _has_template(new)
    for path in sorted(model.iterdir()):
        name = path.name
        if name in checkpoint.files or (name == INDEX and checkpoint.index is not None):
            continue
        if name in _JSON_CONFIGS or (name in _TEMPLATES and keep_template):
            plan.copied.append(name)
        elif not path.is_file() or any(fnmatch(name, mask) for mask in (*_OTHER_WEIGHTS, *_RECORDS)):
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


def describe(plan: Plan, options: EmbedInitOptions) -> str:
    """What would be written, for `--dry-run`."""
    checkpoint, tokens = plan.checkpoint, plan.tokens
    head = "tied" if checkpoint.tied else f"{checkpoint.head.name}, {options.head_method or options.method}"  # type: ignore[union-attr]
    columns = checkpoint.hidden_size
    return "\n".join(
        [
            f"embedding: {checkpoint.embedding.name}, {checkpoint.embedding.dtype}, {options.method}; head: {head}",
            f"rows: [{checkpoint.num_rows}, {columns}] -> [{plan.num_rows}, {columns}]",
            f"tokens: {len(tokens.old_id):,} kept ({tokens.num_moved:,} at another id), {len(tokens.new):,} new, "
            f"{len(tokens.dropped):,} dropped" + (f": {listed(plan.old, tokens.dropped)}" if tokens.dropped else ""),
            *(f"rewrite {name}: {plan.new_size(name):,} bytes" for name in plan.rewritten),
            *(f"{'link' if options.link else 'copy'} {name}: {plan.new_size(name):,} bytes" for name in plan.kept),
            f"copy {', '.join(plan.copied)}",
            f"tokenizer: {', '.join(file.name for file in plan.new.files)}",
            f"leave out {', '.join(plan.left_out) or 'nothing'}",
        ]
    )


def write_folder(plan: Plan, options: EmbedInitOptions, folder: Path, messages: Messages) -> dict[str, Any]:
    """Fill the empty `folder`; returns the counts for the manifest."""
    checkpoint, tokens = plan.checkpoint, plan.tokens
    home = plan.new.path if plan.new.path.is_dir() else plan.new.path.parent
    pieces, num_wrong = spell_tokens(plan.old, plan.new, tokens.new, read_new_tokens(home / NEW_TOKENS))
    if num_wrong:
        messages.warn(
            f"{home / NEW_TOKENS}: the pieces of {num_wrong:,} tokens do not spell them in {plan.old.path}; "
            "found by encoding instead"
        )
    rows = NewRows(checkpoint, tokens, pieces, plan.num_rows)
    edits = make_edits(rows, options) if plan.rewritten else {}
    for name in plan.rewritten:
        rewrite_shard(checkpoint.folder / name, folder / name, checkpoint.files[name], edits)
    for name in plan.kept:
        _place(checkpoint.folder / name, folder / name, options.link)
    for name in plan.copied:
        shutil.copyfile(checkpoint.folder / name, folder / name)
    _write_index(plan, folder)
    _write_configs(plan, folder, messages)
    plan.new.save(folder)
    with (folder / NEW_ROWS).open("xb") as stream:
        for record in row_records(rows, options, edits, plan.old, plan.new):
            stream.write(dump(record) + b"\n")
    if tokens.dropped:
        lines = [dump({"token": plan.old.piece(id), "id": id}) + b"\n" for id in tokens.dropped]
        (folder / DROPPED).write_bytes(b"".join(lines))
    mean_ids = [id for id in tokens.new if not pieces[id] and plan.new.piece_bytes(id)]
    if mean_ids and "subword-mean" in (options.method, options.head_method):
        messages.warn(
            f"{plan.old.path} cannot spell {len(mean_ids):,} new tokens, which get the mean of all rows: "
            + listed(plan.new, mean_ids)
        )
    return {
        "old_rows": checkpoint.num_rows,
        "rows": plan.num_rows,
        "kept_tokens": len(tokens.old_id),
        "moved_tokens": tokens.num_moved,
        "new_tokens": len(tokens.new),
        "dropped_tokens": len(tokens.dropped),
        "unspelled_tokens": len(mean_ids),
        "rewritten_files": len(plan.rewritten),
    }


def _place(source: Path, target: Path, link: bool) -> None:
    if not link:
        shutil.copyfile(source, target)
        return
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        raise SeaError(f"{source} cannot be hard-linked: {error.strerror}", fix="leave out --link") from error


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
