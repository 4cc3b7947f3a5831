"""`sea train --dry-run`: the plan of a run, or of each stage of a schedule, on stderr or as JSONL on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seatools.engine.launch import num_processes
from seatools.streams.errors import UsageError
from seatools.streams.records import dump
from seatools.train.checks import check_first_records, check_request
from seatools.train.data import SPOOL
from seatools.train.options import TrainOptions
from seatools.train.plan import describe, plan_options, plan_text, planned_data
from seatools.train.session import Request, look_at, open_folder
from seatools.train.staged import check_stages, stage_request
from seatools.train.stages import Stage


def dry_run(
    request: Request,
    options: TrainOptions,
    stages: Sequence[Stage],
    *,
    memory: float | None,
    rate: float | None,
    nproc: str | None,
    as_json: bool,
) -> None:
    """Print what would be done. `memory` in GB (10**9 bytes) of each device, `rate` in tokens/s of each.

    Raises what the run itself would raise before it reads data; torch is not imported.
    """
    for name, value in (("--memory", memory), ("--rate", rate)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} {value:g} is not positive")
    ranks = 1 if nproc is None else num_processes(nproc)
    if stages:
        check_stages(request, stages, ranks)
    planned = [(stage.name, stage_request(request, stage, request.model_path), stage.options) for stage in stages]
    for name, now, wanted in planned or [("", request, options)]:
        inputs = look_at(now, wanted)
        if not stages:
            open_folder(now, inputs)
        check_request(now, inputs, ranks)
        check_first_records(now, inputs)
        given = [now.out / SPOOL] if inputs.begun is not None else inputs.given
        plan = describe(
            now.model_path,
            plan_options(
                inputs.options, ranks=ranks,
                memory=None if memory is None else int(memory * 1e9), rate=rate,
            ),
            planned_data(inputs.sources, given, inputs.options, inputs.documents),
            vocab_size=inputs.documents.tokenizer.vocab_size,
        )  # fmt: skip
        if as_json:
            sys.stdout.buffer.write(dump({"stage": name, **plan.as_json()} if name else plan.as_json()) + b"\n")
        else:
            order = "in the order of the data" if inputs.options.order == "file" else "shuffled in each epoch"
            head = f"stage {name}\n" if name else ""
            request.messages.info(f"{head}{plan_text(plan)}\nrows: {order}")
