"""A whole run: records to questions to units to outcomes to records with answers.

The output is a pure function of the outcomes of this run's questions, whoever computed them and when: a run that is
begun again computes what is missing, in the very units of an unbroken one, and one that has nothing to compute does
not load the model.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from seatools.engine.world import World
from seatools.sample.answers import Answerer, Outcome
from seatools.sample.output_records import Written, output_line
from seatools.sample.partial import Partial, check_partial, difference, partial_path
from seatools.sample.prompts import read_prompts
from seatools.sample.questions import Asker, Question, make_questions, plan_units
from seatools.sample.setup import Sampling, ending_ids, fills_gpu, new_asker, run_settings
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import shown_together
from seatools.streams.manifest import Manifest, manifest_path
from seatools.streams.outputs import check_output, is_special, open_output
from seatools.streams.progress import Progress
from seatools.streams.quarantine import rejects_policy
from seatools.streams.records import Record, Rejects
from seatools.streams.spool import spooled

Asked = Sequence[tuple[Record, str]]
"""Records, each with the key of its question."""


def sample(sampling: Sampling, world: World) -> None:
    """Do all of it; the main process writes and prints."""
    if sampling.resume and sampling.output_path is None:
        raise UsageError("--resume goes on with a file", fix="-o FILE")
    replaces = sampling.force or sampling.resume
    paths = [*sampling.inputs, *([] if sampling.is_remote else [sampling.model])]
    check_output(sampling.output, force=replaces, inputs=paths)
    asker = new_asker(sampling)
    manifest = Manifest("sample", seed=sampling.options.seed)
    out = sampling.output_path
    path = None if out is None or is_special(Path(out)) else partial_path(out)  # nothing beside /dev/null
    # A run that is finished writes nothing: its quarantine file holds rejects that only the model knew.
    finished = sampling.resume and path is not None and not path.exists() and Path(str(out)).exists()
    keeps = sampling.on_error == "quarantine" and world.is_main and not finished
    on_error = "skip" if sampling.on_error == "quarantine" and not keeps else sampling.on_error
    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(
            rejects_policy(on_error, sampling.quarantine if keeps or sampling.on_error != "quarantine" else None,
                           sampling.output, sampling.messages, force=replaces, dry_run=sampling.dry_run)
        )  # fmt: skip
        files, stdin_digest = stack.enter_context(spooled(sampling.inputs))
        records = read_prompts(files, rejects=rejects, limit=sampling.limit)
        asked, questions = make_questions(records, asker, rejects)
        if not asked:
            raise SeaError("no prompt to answer", where=shown_together(sampling.inputs))
        units = plan_units(questions, asker.options.num_made, larger=fills_gpu(sampling))
        number, count = sampling.shard
        units = units[number::count]
        own = {question.key for unit in units for question in unit}
        asked = [pair for pair in asked if pair[1] in own]
        _tell_plan(sampling, asker, asked, units)
        if sampling.dry_run:
            return
        run = run_settings(sampling, asker, world, questions)
        lines = hashlib.sha256(b"\n".join(record.raw for record, _ in asked)).hexdigest()
        manifest.options = {**asdict(asker.options), "shard": f"{number}/{count}", "run": run, "records": lines}
        if path is None and world.size > 1:
            raise UsageError(f"{out} keeps nothing that several processes could put together", fix="-o FILE")
        if path is not None and world.is_main:
            if finished:
                _check_finished(Path(str(out)), {**run, "records": lines})
            else:
                check_partial(path, resume=sampling.resume, force=sampling.force)
        if world.first(finished if world.is_main else None):
            sampling.messages.info(f"{out} is finished")
            return
        partial = stack.enter_context(Partial(path, run, world, sampling.messages))
        _compute(sampling, asker, units, partial, world)
        if not world.is_main:
            return
        written = _write(sampling, asker, asked, partial, rejects, run)
        manifest.counts, manifest.rejects = written.counts, rejects.counts + written.dropped
        if sampling.output_path is not None:
            if not sampling.is_remote:
                manifest.add_input(sampling.model, run["model"])
            manifest.add_inputs(sampling.inputs, stdin_digest)
            manifest.write(sampling.output_path)
        partial.remove()


def _tell_plan(sampling: Sampling, asker: Asker, asked: Asked, units: Sequence[Sequence[Question]]) -> None:
    messages, options = sampling.messages, asker.options
    questions = [question for unit in units for question in unit]
    if (twice := len(asked) - len(questions)) > 0:
        messages.info(f"{twice:,} of {len(asked):,} records repeat the prompt of another: they get the same answers")
    strings = sum(isinstance(question.prompt, str) for question in questions)
    continued = strings and not options.chat and options.system is None
    if continued and asker.documents is not None and asker.documents.template is not None:
        are = "prompts are strings, which are continued as they stand; --chat asks them"
        if strings == 1:
            are = "prompt is a string, which is continued as it stands; --chat asks it"
        messages.info(f"{strings:,} {are} as a user")
    if sampling.dry_run:
        longest = max((len(ids) for one in questions for ids in (one.ids, *one.to_translate)), default=0)
        made = f" ({len(questions) * options.num_made:,} made)" if options.num_made > options.num else ""
        first = f"translated from {options.from_lang} first, " if asker.translation is not None else ""
        messages.info(
            f"{len(asked):,} prompts, {first}the longest of {longest:,} tokens: would write "
            f"{len(asked) * options.num:,} answers{made} of at most {options.max_new_tokens:,} tokens to "
            f"{sampling.output or 'stdout'}, in {len(units):,} units; nothing is written"
        )


def _check_finished(output: Path, run: Mapping[str, Any]) -> None:
    """Raises UsageError where an output that is there is not what this run would come to."""
    try:
        options = orjson.loads(manifest_path(output).read_bytes())["options"]
        before = {**options["run"], "records": options.get("records")}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        raise UsageError(
            f"{output} exists, and no manifest beside it says of which run", fix="--force replaces it"
        ) from None
    if (found := difference(before, run)) is not None:
        raise UsageError(f"{output} exists and is of another run, with {found}", fix="--force replaces it")


def new_answerer(sampling: Sampling, asker: Asker, world: World) -> Answerer:
    """Answers this run's units on this process' device."""
    return Answerer(
        asker, ending_ids(sampling, asker.documents), Path(sampling.model), sampling.model,
        str(world.device) if world.size > 1 else sampling.device, sampling.dtype, sampling.messages,
        skips=sampling.on_error != "fail",
    )  # fmt: skip


def _compute(
    sampling: Sampling, asker: Asker, units: Sequence[Sequence[Question]], partial: Partial, world: World
) -> None:
    todo = partial.missing(units)
    answerer = new_answerer(sampling, asker, world)
    mine = sum(len(units[at]) for at in todo[world.rank :: world.size])
    quiet = sampling.messages.quiet or not world.is_main
    with Progress("sampling", mine * asker.options.num_made, "answers", quiet) as progress:

        def answers(at: int) -> list[Outcome]:
            return answerer.answer(units[at], progress.advance)

        partial.compute(todo, answers)


def _write(
    sampling: Sampling, asker: Asker, asked: Asked, partial: Partial, rejects: Rejects, run: Mapping[str, Any]
) -> Written:
    """The output in the order of the input, out of the outcomes."""
    written = Written()
    replaces = sampling.force or sampling.resume
    with open_output(sampling.output, force=replaces, inputs=sampling.inputs) as stream:
        for record, key in asked:
            outcome = partial.get(key)
            if outcome.reject is not None:
                written.refuse(record, outcome.reject, rejects)
                continue
            written.add(outcome)
            stream.write(output_line(record, outcome, asker, run) + b"\n")
        if not asked:  # a shard beyond the last unit: a job that runs all shards goes on
            sampling.messages.info("this shard has no prompts: its output is empty")
        elif not written.counts["prompts"]:
            partial.remove()  # to go on from it would come to the same
            why = written.why(rejects)
            fix = "a model that knows the language, or --translation-prompts FILE" if asker.translation else None
            raise SeaError(f"no prompt could be answered ({why})", where=shown_together(sampling.inputs), fix=fix)
    written.tell(sampling.messages, asker.options.max_new_tokens)
    return written
