"""A whole evaluation: data to items to requests to units to samples to scores.

The scores are a pure function of the samples of this run's keys, whoever computed them and when: a run that is begun
again computes what is missing, and one that has nothing to compute does not load the model.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from seatools.engine.world import World
from seatools.eval.compute import Run
from seatools.eval.deactivation import Pass, read_passes
from seatools.eval.engines import check_engine
from seatools.eval.evaluation import Evaluation
from seatools.eval.prepare import check, fills_gpu, new_questions, new_setup, read_sources, tell_plan
from seatools.eval.report import score_records, write_scores
from seatools.eval.sample_store import SampleStore, check_samples_path
from seatools.eval.samples import Sample
from seatools.eval.tasks import pick_tasks
from seatools.streams.manifest import Manifest
from seatools.streams.outputs import check_output
from seatools.streams.quarantine import rejects_policy
from seatools.streams.spool import spooled


def evaluate(evaluation: Evaluation, world: World) -> None:
    """Do all of it; the main process writes and prints."""
    tasks = pick_tasks(evaluation.tasks)
    check(evaluation, tasks, world)
    paths = evaluation.inputs
    check_output(evaluation.output, force=evaluation.force, inputs=[evaluation.model, *paths])
    check_output(evaluation.harness, force=evaluation.force, inputs=[evaluation.model, *paths])
    check_samples_path(evaluation.samples, paths, evaluation.output)
    messages = evaluation.messages
    on_error = evaluation.on_error if world.is_main or evaluation.on_error != "quarantine" else "skip"
    manifest = Manifest("eval", options=evaluation.told, seed=evaluation.options.seed)
    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(
            rejects_policy(on_error, evaluation.quarantine if world.is_main else None, evaluation.output, messages,
                           force=evaluation.force, dry_run=evaluation.dry_run)
        )  # fmt: skip
        files, stdin_digest = stack.enter_context(spooled(paths))
        sources, shots = read_sources(evaluation, tasks, dict(zip(paths, files, strict=True)), rejects)
        setup = new_setup(evaluation, tasks, rejects, [*sources, *shots])
        passes = read_passes(evaluation.deactivate, evaluation.patches, messages)
        check_engine(evaluation.options.engine, len(passes))
        questions = new_questions(
            tasks, sources, shots, setup, larger=fills_gpu(evaluation, tasks), judge=evaluation.judge
        )
        if evaluation.dry_run:
            tell_plan(evaluation, questions, passes)
            return
        store = stack.enter_context(SampleStore(evaluation.samples_path, world.rank, messages))
        _open(store, world)
        run = Run(evaluation, setup, questions, passes, store, world)
        run.compute()
        manifest.rejects = rejects.counts
        if world.is_main and evaluation.shard[1] == 1:
            samples = store.read(run.keys)
            _report(evaluation, samples, manifest, paths, stdin_digest, passes, run.model_digest)
        elif world.is_main:
            number, count = evaluation.shard
            messages.info(
                f"shard {number} of {count} is in {store.path}; sea eval score SAMPLES... makes scores of all shards"
            )


def _open(store: SampleStore, world: World) -> None:
    """The main process first: the others read what it has gathered."""
    if world.is_main:
        store.open()
    world.barrier()
    if not world.is_main:
        store.open()


def _report(
    evaluation: Evaluation, samples: Sequence[Sample], manifest: Manifest, paths: Sequence[str],
    stdin_digest: str | None, passes: Sequence[Pass], model_digest: str | None,
) -> None:  # fmt: skip
    """Scores out of samples, to where they are wanted."""
    records = score_records(samples, evaluation.options)
    if evaluation.options.limit is not None:
        for record in records:
            record["config"]["limit"] = evaluation.options.limit
    write_scores(records, evaluation)
    manifest.counts = {"samples": len(samples), "scores": len(records)}
    if evaluation.output in (None, "-") and evaluation.harness is None:
        return
    if model_digest is None:  # the weights have not been read, so they count by their size
        manifest.known.update(dict.fromkeys(map(os.path.realpath, Path(evaluation.model).glob("*.safetensors"))))
    manifest.add_input(evaluation.model, model_digest)
    manifest.add_inputs(paths, stdin_digest)
    for one in passes[1:]:
        manifest.add_input(str(one.file))
    manifest.write(evaluation.output, evaluation.harness)
