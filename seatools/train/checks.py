"""What `sea train` refuses before it reads data or weights: everything that could only fail hours later.

A dry run, the parent of several processes and a schedule (for all of its stages, before the first) ask the same
questions here; those of all training are in engine/run_checks.py. torch is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatools.engine.run_checks import check_run
from seatools.engine.training_options import positions_in
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import RecordReader, Rejects, check_training

if TYPE_CHECKING:
    from seatools.train.session import Inputs, Request


def check_request(request: Request, inputs: Inputs, ranks: int) -> None:
    """Raise UsageError or SeaError for a run that cannot come to its end. Writes nothing."""
    options = inputs.options
    if not inputs.sources and inputs.begun is None:
        raise UsageError(f"{request.out} holds no data to resume with", fix="repeat the DATA of the first command")
    positions = positions_in(request.model_path)
    packed = inputs.given or inputs.begun is not None  # which have a row length of their own
    if not packed and positions is not None and options.seq_len > positions:
        what = f"rows of {options.seq_len} tokens are beyond the model's {positions} positions"
        raise UsageError(what, fix=f"--seq-len {positions} or less")
    check_run(
        request, options, ranks, vocab_size=inputs.documents.tokenizer.vocab_size, files=inputs.files,
        from_config=options.from_config,
    )  # fmt: skip


def check_first_records(request: Request, inputs: Inputs) -> None:
    """Raise SeaError where the first record of a file cannot be trained on, as chat without a template; a run would
    find out by itself, a later stage only after the earlier ones. With --on-error skip or quarantine nothing is asked.
    """
    if inputs.begun is not None or inputs.given or request.on_error != "fail":
        return
    for path in [path for source in inputs.sources for path in source.paths if path != "-"]:
        for record in RecordReader([path], check=check_training, rejects=Rejects("fail"), limit=1):
            (document,) = inputs.documents.encode([record.value])
            if isinstance(document, SeaError):
                raise SeaError(document.what, where=record.where, fix=document.fix)
