"""`sea train --dry-run`: what a run would do and hold in memory, by arithmetic, without torch.

Reads config.json and safetensors headers only. Memory: weights in the training type, gradients of the trained
matrices, and 8 bytes a trained number of Adam's moments plus 4 of fp32 master where weights are low precision.
Activations and logits are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatools.engine.row_order import steps_for_epochs
from seatools.streams.errors import SeaError
from seatools.streams.sizes import human_count
from seatools.streams.tensors import read_header
from seatools.train.options import TrainOptions

if TYPE_CHECKING:
    from seatools.train.data import Source


def count_parameters(model_path: Path) -> int:
    """Numbers in the folder's safetensors files, by their headers."""
    files = sorted(model_path.glob("*.safetensors"))
    if not files:
        raise SeaError(f"{model_path}: no safetensors weights")
    return sum(math.prod(entry["shape"]) for file in files for entry in read_header(file)[0].values())


def describe_run(model_path: Path, sources: Sequence[Source], given: Sequence[Path], options: TrainOptions) -> str:
    """The lines that `--dry-run` prints on stderr."""
    lines = [f"model: {model_path}"]
    if not options.from_config:
        parameters = count_parameters(model_path)
        low = options.dtype in ("bf16", "fp16")
        weight = 2 if low else 4
        trained = 0 if options.neurons_path else parameters
        state = trained * (weight + 8 + (4 if low else 0))
        lines.append(
            f"parameters: {human_count(parameters)}; weights {parameters * weight / 1e9:.2f} GB, "
            f"gradients and optimiser {state / 1e9:.2f} GB" + (" (neurons only: small)" if options.neurons_path else "")
        )
    for source in sources:
        size = sum(Path(path).stat().st_size for path in source.paths if path != "-")
        lines.append(f"data {source.name}: {len(source.paths)} file(s), {size / 1e6:.1f} MB")
    lines.append("rows: " + ("in the order of the data" if options.order == "file" else "shuffled in each epoch"))
    if given:
        from seatools.text.packed_shards import read_packed_files

        packed = read_packed_files(given)
        rows = packed.num_rows
        steps = options.max_steps or steps_for_epochs(options.epochs, batch_size=options.batch_size, num_rows=rows)
        lines.append(f"packed: {rows:,} rows of {packed.row_length}, {steps:,} steps of {options.batch_size} rows")
    elif options.max_steps:
        tokens = options.max_steps * options.batch_size * options.seq_len
        lines.append(f"steps: {options.max_steps:,}, at most {human_count(tokens)} tokens")
    return "\n".join(lines)
