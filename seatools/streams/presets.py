"""Published recipes as named defaults of a command: `--preset NAME` stands beneath --config and typed options.

Only what is in print or in released code is set; what a paper leaves out keeps our default, and its text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A recipe: `about` in one line, its `source`, option values by their names on the command line."""

    about: str
    source: str
    values: Mapping[str, Any] = field(default_factory=dict)


def values_by_name(presets: Mapping[str, Preset]) -> dict[str, Mapping[str, Any]]:
    """Preset -> its option values."""
    return {name: preset.values for name, preset in presets.items()}
