"""What the command line and the plan file ask for together, as one request."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatools.mix.options import MixOptions
from seatools.mix.plan_file import PlanFile, read_plan_file
from seatools.streams.errors import UsageError
from seatools.streams.inputs import TEXT_SUFFIXES, bare_suffix, same_file
from seatools.streams.outputs import refuse_misnamed
from seatools.streams.quarantine import refuse_shared_rejects
from seatools.streams.sizes import parse_count
from seatools.streams.source_specs import SourceSpec, check_sources, parse_sources

_FILE_SUFFIXES = (*TEXT_SUFFIXES, ".gz", ".zst", ".safetensors")
_PARTS = {f"part{suffix}": suffix for suffix in (".jsonl", ".jsonl.zst", ".jsonl.gz", ".safetensors")}


@dataclass(frozen=True, kw_only=True)
class MixRequest:
    """A mix and all that does not decide its bytes; see the flags of the same names."""

    options: MixOptions
    tokenizer: str | None = None
    chat_template: str | None = None
    pattern: str | None = None
    plan: str | None = None
    output: str | None = None
    force: bool = False
    workers: int = 0
    dry_run: bool = False
    json: bool = False
    on_error: str = "fail"
    quarantine: str | None = None
    rejects: str | None = None
    """Where the documents go that cleaning takes out."""
    shard: tuple[int, int] | None = None
    """(I, N): the I-th of N stretches of the mix, counted from 0."""
    shard_bytes: int | None = None
    """The output is a folder of files of at most so many bytes."""
    index_dir: str | None = None
    """Where indexes of the data files are kept, if not beside them."""
    no_index: bool = False
    plot: Path | None = None
    """A picture of the plan, with `dry_run` too."""

    def __post_init__(self) -> None:
        if self.shard_bytes is not None:
            self._check_folder()
        name = str(self.output)
        is_other = name.endswith((".gz", ".zst")) or bare_suffix(name) in TEXT_SUFFIXES
        if self.options.pack is not None and (self.to_stdout or is_other):
            raise UsageError("--pack writes a safetensors file", fix="-o FILE.safetensors")
        if self.options.pack is None:
            refuse_misnamed(self.output)
        refuse_misnamed(self.rejects)
        if self.no_index and self.index_dir is not None:
            raise UsageError("--index-dir says where indexes go and --no-index that there are none", fix="one of them")
        if self.json and not self.dry_run:
            raise UsageError("--json gives the plan on stdout, where the documents go", fix="add --dry-run")
        for option, path in (("--output", self.output), ("--rejects", self.rejects), ("--quarantine", self.quarantine)):
            if self.plot is not None and path is not None and same_file(self.plot, path):
                raise UsageError(f"--plot and {option} are the same file", fix="name two")
        if self.rejects is not None:
            self._check_rejects_file(self.rejects)
        if self.tokenizer is None:
            self._refuse_without_tokenizer()

    @property
    def to_stdout(self) -> bool:
        return self.output is None or self.output == "-"

    @property
    def place(self) -> str | None:
        """What is written: a file, or with `shard_bytes` the folder, also where -o names the parts in it."""
        if self.shard_bytes is not None and os.path.basename(str(self.output)) in _PARTS:
            return os.path.dirname(str(self.output)) or "."
        return self.output

    @property
    def part_suffix(self) -> str:
        """The ending of the parts in a folder of JSONL."""
        return _PARTS.get(os.path.basename(str(self.output)), ".jsonl")

    @property
    def keeps_rejects(self) -> bool:
        """Whether this run keeps what it refuses: every shard refuses the same, and the first of them keeps it."""
        return self.shard is None or self.shard[0] == 0

    def _check_folder(self) -> None:
        """A folder of parts appears as a whole in place of an old one, so nothing else is written into it."""
        name = os.path.basename(str(self.output))
        fix = "-o FOLDER" + ("" if self.options.pack is not None else ", or FOLDER/part.jsonl.zst")
        is_other = name in _PARTS and (name == "part.safetensors") != (self.options.pack is not None)
        if self.to_stdout or is_other or (name not in _PARTS and name.lower().endswith(_FILE_SUFFIXES)):
            named = "" if self.to_stdout else f", and {self.output} names a file"
            raise UsageError(f"--shard-size writes a folder of files{named}", fix=fix)
        folder = Path(os.path.realpath(str(self.place)))
        plot = None if self.plot is None else str(self.plot)
        for option, path in (
            ("--rejects", self.rejects), ("--quarantine", self.quarantine), ("--index-dir", self.index_dir),
            ("--plot", plot),
        ):  # fmt: skip
            if path is not None and Path(os.path.realpath(path)).is_relative_to(folder):
                what = f"{option} {path} lies inside {self.place}, which is replaced as a whole"
                raise UsageError(what, fix=f"{option} ANOTHER, beside the folder")

    def _check_rejects_file(self, path: str) -> None:
        if self.options.cleaning is None:
            raise UsageError(
                "--rejects keeps what cleaning takes out, and nothing is cleaned", fix="--quality, --dedup"
            )
        refuse_shared_rejects(path, self.place, self.quarantine)

    def _refuse_without_tokenizer(self) -> None:
        """Name the first option that needs a tokenizer."""
        options = self.options
        for option, is_given in (
            (f"--unit {options.unit}", options.unit in ("tokens", "loss-tokens")),
            ("--pack", options.pack is not None),
            ("--chat-template", self.chat_template is not None),
            ("--pattern", self.pattern is not None),
        ):
            if is_given:
                fix = "--tokenizer TOK" + (", or --unit bytes or docs" if option.startswith("--unit") else "")
                raise UsageError(f"{option} needs a tokenizer", fix=fix)


def mix_options(
    sources: list[str], plan_path: str | None, flags: Mapping[str, Any], typed: Collection[str]
) -> MixOptions:
    """The options of a mix: the flags, or what the plan file says where a flag is not `typed` on the command line.

    `flags` holds the fields of MixOptions by name, `budget` as it was written and `max_epochs` perhaps None.
    """
    plan = PlanFile() if plan_path is None else read_plan_file(plan_path)
    specs = _together(plan.sources, parse_sources(sources))
    if not specs:
        raise UsageError("missing argument: no source to mix", fix="NAME=GLOB:WEIGHT, or --plan FILE.toml")
    settings = dict(plan.settings)
    if "temperature" in typed or "unimax" in typed:  # the file's other way to make weights goes with its own
        settings = {key: value for key, value in settings.items() if key not in ("temperature", "unimax")}
    chosen = dict(flags) | {key: value for key, value in settings.items() if key not in typed}
    if isinstance(chosen["budget"], str):
        chosen["budget"] = parse_count(chosen["budget"])
    if chosen["max_epochs"] is None:
        chosen["max_epochs"] = 1 if chosen["budget"] is None and not plan.phases else 4
    return MixOptions(sources=tuple(specs), phases=tuple(plan.phases), **chosen)


def _together(planned: list[SourceSpec], typed: list[SourceSpec]) -> list[SourceSpec]:
    """The sources of the plan, those that are typed too with what was typed of them, and then the others."""
    by_name = {spec.name: spec for spec in planned}
    if len(by_name) < len(planned):
        check_sources(planned)
    for spec in typed:
        old = by_name.get(spec.name)
        if old is not None:
            weight = old.weight if spec.weight is None else spec.weight
            spec = replace(old, glob=spec.glob, weight=weight, max_epochs=spec.max_epochs or old.max_epochs)
        by_name[spec.name] = spec
    check_sources(list(by_name.values()))
    return list(by_name.values())
