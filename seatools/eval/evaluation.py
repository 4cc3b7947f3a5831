"""What the command line asks for, and where things go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatools.eval.setup import Options
from seatools.eval.sources import all_paths, name_sources
from seatools.streams.messages import Messages


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the command line asks for."""

    model: str
    tasks: tuple[str, ...]
    data: tuple[str, ...]
    shots_data: tuple[str, ...] = ()
    hf: tuple[str, ...] = ()
    """Languages to take from the hub."""
    output: str | None = None
    samples: str | None = None
    harness: str | None = None
    deactivate: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    judge: str | None = None
    shard: tuple[int, int] = (0, 1)
    options: Options = field(default_factory=Options)
    chat_template: str | None = None
    pattern: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    workers: int = 0
    on_error: str = "fail"
    quarantine: str | None = None
    force: bool = False
    dry_run: bool = False
    json: bool = False
    messages: Messages = Messages()

    @property
    def inputs(self) -> list[str]:
        """The data files."""
        return all_paths([*name_sources(self.data), *name_sources(self.shots_data)])

    @property
    def samples_path(self) -> Path | None:
        """Where samples go: the file named, else one beside the output."""
        if self.samples is not None:
            return Path(self.samples)
        if self.output is None or self.output == "-":
            return None
        return Path(f"{self.output}.samples.jsonl")

    @property
    def told(self) -> dict[str, Any]:
        """The options, for the manifest."""
        settings = {key: value for key, value in vars(self.options).items() if key != "seed"}
        return {
            "tasks": list(self.tasks), "deactivate": list(self.deactivate), **settings,
            "apply_patch": list(self.patches), "judge": self.judge, "hf": list(self.hf), "shard": list(self.shard),
            "samples": str(self.samples_path) if self.samples_path else None,
        }  # fmt: skip
