"""What a run would do (`--dry-run`), from the plan alone: files, bytes, and about how much memory; no tensor is read.

The memory is counted from the arrays that the methods make. It leaves out what Python and the two tokenizers take
before any of it (two of Qwen2's, matched: 0.4 GB, measured), and pages of the checkpoint, which the system may drop.
"""

from __future__ import annotations

from seatools.embed_init.model_folder import Plan
from seatools.embed_init.old_rows import CHUNK_BYTES
from seatools.embed_init.options import EmbedInitOptions
from seatools.embed_init.token_map import listed
from seatools.streams.float_bits import STORED


def describe(plan: Plan, options: EmbedInitOptions) -> str:
    """The plan in lines for people."""
    checkpoint, tokens = plan.checkpoint, plan.tokens
    head = "tied" if checkpoint.tied or checkpoint.head is None else f"{checkpoint.head.name}, {options.head}"
    columns = checkpoint.hidden_size
    written, shared = output_bytes(plan, options)
    reinit = f", {len(plan.existing.pieces):,} made anew" if plan.existing.pieces else ""
    lines = [
        f"embedding: {checkpoint.embedding.name}, {checkpoint.embedding.dtype}, {options.method}; head: {head}",
        f"rows: [{checkpoint.num_rows}, {columns}] -> [{plan.num_rows}, {columns}]",
        f"tokens: {len(tokens.old_id):,} kept ({tokens.num_moved:,} at another id{reinit}), {len(tokens.new):,} new, "
        f"{len(tokens.dropped):,} dropped" + (f": {listed(plan.old, tokens.dropped)}" if tokens.dropped else ""),
        *(f"rewrite {name}: {plan.new_size(name):,} bytes" for name in plan.rewritten),
        *(f"{'link' if options.link else 'copy'} {name}: {plan.new_size(name):,} bytes" for name in plan.kept),
        f"copy {', '.join(plan.copied)}",
        f"tokenizer: {', '.join(file.name for file in plan.new.files)}",
        f"leave out {', '.join(plan.left_out) or 'nothing'}",
        f"write {written:,} bytes" + (f", link {shared:,}" if shared else ""),
        f"memory: about {peak_memory(plan, options) / 1e6:,.0f} MB at most, beside Python and the tokenizers"
        + (" (distill: and what the model computes with)" if options.method == "distill" else ""),
    ]
    if plan.donor is not None:
        lines.append(
            f"donor: {len(plan.donor.shared[0]):,} tokens in common, "
            f"{len(plan.donor.donor_id):,} of {len(plan.rows_to_make):,} to make"
        )
    return "\n".join(lines)


def output_bytes(plan: Plan, options: EmbedInitOptions) -> tuple[int, int]:
    """(bytes to be written, bytes that `--link` shares with MODEL); headers, indexes and new_rows.jsonl not counted."""
    folder = plan.checkpoint.folder
    kept = sum(plan.new_size(name) for name in plan.kept)
    written = sum(plan.new_size(name) for name in plan.rewritten)
    written += sum((folder / name).stat().st_size for name in plan.copied)
    written += sum(file.stat().st_size for file in plan.new.files)
    return (written, kept) if options.link else (written + kept, 0)


def peak_memory(plan: Plan, options: EmbedInitOptions) -> int:
    """Bytes of the arrays that live at once where the run needs most."""
    checkpoint, num_new = plan.checkpoint, len(plan.rows_to_make)
    columns = checkpoint.hidden_size
    wide = num_new * columns * 4
    # Stored copies of all matrices' new rows, beside one in fp32 with what it is computed from, and chunks.
    kept = sum(num_new * columns * STORED[tensor.dtype].itemsize for tensor in checkpoint.vocabulary_tensors[:2])
    matrices = {options.method} if checkpoint.tied else {options.method, options.head}
    extra = max(_method_memory(plan, options, method) for method in matrices)
    return kept + 3 * wide + 6 * CHUNK_BYTES + extra


def _method_memory(plan: Plan, options: EmbedInitOptions, method: str) -> int:
    columns = plan.checkpoint.hidden_size
    if method == "gaussian-full":
        return 3 * 8 * columns**2
    if method == "omp" and plan.donor is not None:
        return (512 << 20) + 12 * len(plan.donor.shared[0]) * plan.donor.checkpoint.hidden_size
    if method == "focus":
        return (256 << 20) + 4 * options.max_tokens * max(1, len(plan.text))
    if method == "distill":
        weights = sum(tensor.num_bytes // STORED[tensor.dtype].itemsize for file in plan.checkpoint.files.values()
                      for tensor in file if tensor.dtype in STORED)  # fmt: skip
        return 4 * weights + 4 * options.max_tokens * max(1, len(plan.text))
    return 0
