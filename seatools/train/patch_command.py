"""`sea train apply-patch | subtract-patch | merge-patches | show-patch`: what is done with patches after a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import Debug, DryRun, Force, Json, OutputPath, Quiet, Verbose, new_app, run_app
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.engine.patch import Patch
    from seatools.train.patched_folder import Direction

_apply, _subtract, _merge, _show = new_app(), new_app(), new_app(), new_app()

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder (safetensors)")]
Patches = Annotated[list[Path], typer.Argument(metavar="PATCH...", help="patch files of sea train --save-patch")]
Scales = Annotated[
    list[float] | None,
    typer.Option(
        "--scale", metavar="F", help="old + F (new - old), in fp32, then rounded; one for all or one each [1]"
    ),
]
OnOverlap = Annotated[
    str, typer.Option("--on-overlap", metavar="error|mean|sum|first", help="for a row that several patches change")
]
Inexact = Annotated[
    bool, typer.Option("--inexact", help="another base: where values are not those expected, add the difference")
]


@_apply.command()
def apply_patch(
    model: Model,
    patches: Patches,
    output: OutputPath,
    scale: Scales = None,
    on_overlap: OnOverlap = "error",
    inexact: Inexact = False,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """A model with patches in it, without loading it.

    \b
    examples:
      sea train apply-patch BASE th.patch.safetensors -o OUT
      sea train apply-patch BASE th.patch.safetensors lo.patch.safetensors -o OUT --on-overlap mean
      sea train apply-patch BASE th.patch.safetensors -o OUT --scale 0.5

    One whole patch gives the trained checkpoint to the bit. Rows that several patches change are refused, or with
    --on-overlap become old + the sum of their scaled differences, its mean, or what the first patch makes of them.
    """
    from seatools.engine.patch import load_patch
    from seatools.train.merged_patch import merge

    patch = merge([load_patch(path) for path in patches], scale, on_overlap)
    options = {"scale": scale or [1.0], "on_overlap": on_overlap, "inexact": inexact}
    messages = Messages(quiet, verbose)
    _rewrite(model, patches, patch, "in", output, options, inexact, force, dry_run, messages)


@_subtract.command()
def subtract_patch(
    model: Model,
    patch: Annotated[Path, typer.Argument(metavar="PATCH", help="the patch that is in it")],
    output: OutputPath,
    scale: Annotated[float, typer.Option("--scale", metavar="F", help="the one that it was applied with")] = 1.0,
    inexact: Inexact = False,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """A patched model without the patch: the base to the bit, where its values are those that the patch left.

    \b
    examples:
      sea train subtract-patch PATCHED th.patch.safetensors -o BASE
      sea train subtract-patch OTHER th.patch.safetensors -o OUT --inexact   # unlearning: minus (new - old)
    """
    from seatools.engine.patch import load_patch
    from seatools.train.merged_patch import merge

    messages = Messages(quiet, verbose)
    options = {"scale": scale, "inexact": inexact}
    scaled = merge([load_patch(patch)], [scale])
    _rewrite(model, [patch], scaled, "out", output, options, inexact, force, dry_run, messages)


def _rewrite(
    model: Path, patches: list[Path], patch: Patch, direction: Direction, output: Path, options: Mapping[str, object],
    inexact: bool, force: bool, dry_run: bool, messages: Messages,
) -> None:  # fmt: skip
    from seatools.streams.digests import folder_digest
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, output_folder
    from seatools.train.patched_folder import slice_edits, write_patched

    for path in (model, *patches):
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{output} lies inside the input {path}", fix="write to another folder")
    inputs = [model, *patches]
    check_output(output, force=force, inputs=inputs)
    edits = slice_edits(model, patch, direction, inexact=inexact, messages=messages)
    files = {edit.tensor.path.name for edit in edits.values()}
    what = f"{patch.num_values:,} values in {len(edits):,} tensors"
    if dry_run:
        messages.info(f"{what}: would write {len(files)} weight files of {model} anew into {output}")
        return
    name = "apply-patch" if direction == "in" else "subtract-patch"
    manifest = Manifest(f"train {name}", options=options)
    with output_folder(output, force=force, inputs=inputs) as folder:
        digests = write_patched(model, folder, edits, messages)
    for file, digest in digests.items():
        manifest.known[os.path.realpath(model / file)] = digest.source
        manifest.known[os.path.realpath(output / file)] = digest.made
    model_digest = folder_digest(model, known=manifest.known)
    manifest.add_input(model, model_digest)
    manifest.add_inputs(patches)
    manifest.counts = {
        "tensors": len(edits), "values": patch.num_values, "rewritten_files": len(files),
        "languages": list(patch.languages), "trained": patch.trained,
    }  # fmt: skip
    manifest.write(output)
    if direction == "in" and patch.base_digest != model_digest:
        messages.warn(
            f"{model} ({model_digest[:16]}) is not the checkpoint that {patch.name} was made from "
            f"({patch.base_digest[:16]})" + ("" if inexact else "; what the patch changes was the same there")
        )
    messages.info(f"{output}: {model} {'with' if direction == 'in' else 'without'} {what}")


@_merge.command()
def merge_patches(
    patches: Patches,
    output: OutputPath,
    scale: Scales = None,
    on_overlap: OnOverlap = "error",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Several patches of one base as one: applying it is applying them all.

    \b
    examples:
      sea train merge-patches th.patch.safetensors lo.patch.safetensors -o sea.patch.safetensors
      sea train merge-patches th.patch.safetensors lo.patch.safetensors -o sea.patch.safetensors --on-overlap sum

    \b
    a row of one patch:   old + F (new - old), new itself for F = 1
    a row of several:     error  refused
                          sum    old + the sum of their F (new - old)
                          mean   old + that sum / the number of patches that change the row
                          first  what the first patch named makes of it
    """
    from seatools.engine.patch import load_patch, write_patch
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.train.merged_patch import merge

    messages = Messages(quiet, verbose)
    check_output(output, force=force, inputs=patches)
    merged = merge([load_patch(path) for path in patches], scale, on_overlap)
    what = f"{merged.num_values:,} values in {len(merged.parts):,} tensors"
    if dry_run:
        messages.info(f"{what}: would write {output}")
        return
    with open_output(output, force=force, inputs=patches, binary=True) as stream:
        write_patch(stream, merged)
    manifest = Manifest("train merge-patches", options={"scale": scale or [1.0], "on_overlap": on_overlap})
    manifest.add_inputs(patches)
    manifest.counts = {"tensors": len(merged.parts), "values": merged.num_values, "languages": list(merged.languages)}
    manifest.write(output)
    messages.info(f"{output}: {what}, from {len(patches)} patches")


@_show.command()
def show_patch(patches: Patches, json: Json = False, debug: Debug = False) -> None:
    """What patches hold: languages, tensors, rows and columns, and the base they belong to.

    \b
    examples:
      sea train show-patch th.patch.safetensors
      sea train show-patch th.patch.safetensors lo.patch.safetensors --json
    """
    import sys

    from seatools.engine.patch import load_patch
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.records import dump

    for patch in map(load_patch, patches):
        if not prints_jsonl(json):
            _print_table(patch)
            continue
        record = {
            "patch": patch.name, "languages": list(patch.languages), "trained": patch.trained,
            "base_digest": patch.base_digest, "tokenizer_digest": patch.tokenizer_digest,
            "architecture": patch.architecture, "values": patch.num_values,
            "tensors": [
                {
                    "name": name, "dtype": part.dtype, "shape": [*part.shape], "what": part.what,
                    "count": part.count or None, "values": part.new.size,
                }
                for name, part in patch.parts.items()
            ],
        }  # fmt: skip
        sys.stdout.buffer.write(dump(record) + b"\n")


def _print_table(patch: Patch) -> None:
    """Tensors that differ in their numbers only are one row."""
    import re

    from rich.table import Table

    from seatools.streams.tables import show_table

    rows: dict[tuple[str, str, str], list[int]] = {}
    for name, part in patch.parts.items():
        key = re.sub(r"\.\d+\.", ".*.", name), part.dtype, part.what
        counted = rows.setdefault(key, [0, 0, 0])
        counted[0] += 1
        counted[1] += part.count
        counted[2] += part.new.size
    langs = ", ".join(patch.languages) or "no language named"
    title = f"{patch.name}: {langs}; {patch.trained}; base {patch.base_digest[:16]}"
    table = Table()
    for column in ("tensors", "dtype", "trained"):
        table.add_column(column)
    for column in ("number", "rows or columns", "values"):
        table.add_column(column, justify="right")
    for (name, dtype, what), (tensors, count, values) in rows.items():
        table.add_row(name, dtype, what, f"{tensors:,}", f"{count:,}" if count else "", f"{values:,}")
    show_table(table, title=title)


APPS: dict[str, typer.Typer] = {
    "apply-patch": _apply,
    "subtract-patch": _subtract,
    "merge-patches": _merge,
    "show-patch": _show,
}
PATCH_COMMANDS = tuple(APPS)
"""First words of `sea train` that are not a model's folder but one of these."""


def main(argv: list[str]) -> int:
    """`sea train ARGV` for an ARGV that begins with one of `PATCH_COMMANDS`."""
    if not argv or argv[0] not in APPS:
        raise SeaError(f"no patch command in {argv!r}")
    return run_app(APPS[argv[0]], f"train {argv[0]}", argv[1:])
