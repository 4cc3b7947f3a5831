"""The runs of a schedule, one after the other, each from the model that the one before it left.

A stage that is complete (it has its manifest) is not run again by --resume; one that was cut short goes on. At the end
the last stage's model stands at the top of OUT as hard links, with the metrics of all stages in one file: `stage` is
its name there and `step` counts through.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from seatools.engine.curves import PICTURE, save_curves
from seatools.engine.run_checks import check_picture
from seatools.engine.run_folder import CHECKPOINTS, METRICS, RunFolder
from seatools.streams.digests import folder_digest
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import reads_stdin
from seatools.streams.manifest import Manifest, manifest_path
from seatools.streams.outputs import write_atomic
from seatools.streams.provenance import read_manifest
from seatools.train.checks import check_first_records, check_request
from seatools.train.data import SPOOL, check_spool
from seatools.train.options import TrainOptions
from seatools.train.session import Request, look_at, open_folder, origin_of, run_session
from seatools.train.stages import FOLDER, Stage

if TYPE_CHECKING:
    from seatools.engine.world import World


def stage_request(request: Request, stage: Stage, model_path: Path, first: Stage | None = None) -> Request:
    """The request of one stage, which begins with the model in `model_path`.

    What is forgotten is measured from the start of the `first` stage, where that is another.
    Each stage draws its own curves into its folder; those of OUT are of all stages.
    """
    out = request.out / FOLDER / stage.folder
    baseline = None if first in (None, stage) else request.out / FOLDER / first.folder / METRICS
    return dataclasses.replace(
        request, model_path=model_path, data=stage.data or request.data, out=out, seq_len=stage.explicit_seq_len,
        tokenizer_path=request.tokenizer_path if request.tokenizer_path != request.model_path else model_path,
        resume=request.resume and out.is_dir(), force=False, baseline=baseline,
        plot=None if request.plot else request.plot,
    )  # fmt: skip


def check_stages(request: Request, stages: Sequence[Stage], ranks: int) -> list[str | Path]:
    """All files that the stages read. Refuses a schedule that could only fail later: no data, stdin read twice."""
    if request.save_patch is not None:
        raise UsageError("--save-patch is of one run, not of a schedule", fix="run the last stage by itself")
    check_picture(request, [])
    readers = [stage.name for stage in stages if reads_stdin(stage.data or request.data)]
    if len(readers) > 1:
        raise UsageError(f"stdin cannot be read by {len(readers)} stages", fix="give each stage its data, or a file")
    files: list[str | Path] = []
    for stage in stages:
        now = stage_request(request, stage, request.model_path)
        looked = look_at(now, stage.options)
        if not looked.sources and not request.resume:
            raise UsageError(f"stage {stage.number} ({stage.name}) has no data", fix="DATA, or data = [...] in it")
        check_request(now, looked, ranks)
        check_first_records(now, looked)
        files += looked.files
    return files


def check_launch(request: Request, options: TrainOptions, stages: Sequence[Stage], ranks: int) -> None:
    """Refuse, in the parent of the processes, what each of them would refuse."""
    if stages:
        check_stages(request, stages, ranks)
        return
    inputs = look_at(request, options)
    open_folder(request, inputs)
    check_request(request, inputs, ranks)


def run_stages(request: Request, stages: Sequence[Stage], world: World) -> None:
    """Run every stage that is not complete, and put the last one's model into OUT."""
    inputs = check_stages(request, stages, world.size)
    folder = RunFolder(
        request.out, resume=request.resume, force=request.force, inputs=[request.model_path, *inputs],
        begun_by=[FOLDER],
    )  # fmt: skip
    done = _count_complete(request, stages) if request.resume else 0
    manifest = Manifest(command="train", options=[stage.options for stage in stages], seed=stages[0].options.seed)
    with folder if world.is_main else contextlib.nullcontext() as opened:
        if opened is not None:
            opened.start()
            (request.out / FOLDER).mkdir(exist_ok=True)
        world.barrier()
        model_path = request.model_path
        for stage in stages:
            now = stage_request(request, stage, model_path, stages[0])
            if stage.number <= done:
                request.messages.info(f"stage {stage.number} of {len(stages)}, {stage.name}: done before")
            else:
                request.messages.info(f"stage {stage.number} of {len(stages)}, {stage.name}")
                try:
                    run_session(now, stage.options, world)
                except BaseException:
                    with contextlib.suppress(OSError):
                        (request.out / FOLDER).rmdir()  # only if no stage has left anything
                    raise
            model_path = now.out
            if world.is_main:
                _join_metrics(request.out, stages[: stage.number])
        if world.is_main:
            _publish(model_path, request.out)
            if request.plot is not False:
                target = request.plot or request.out / PICTURE
                save_curves(request.out / METRICS, target, request.messages, asked_for=request.plot is not None)
            manifest.add_input(request.model_path)
            manifest.counts = {"stages": [stage.name for stage in stages]}
            manifest.write(request.out)
    request.messages.info(f"{request.out}: the model after {len(stages)} stages")


def _count_complete(request: Request, stages: Sequence[Stage]) -> int:
    """How many stages were finished before. Refuses one that is not what this command would make of the stages before
    it: of other options, data or model, or behind one that is still to be trained."""
    count, model_path = 0, request.model_path
    for stage in stages:
        now = stage_request(request, stage, model_path)
        if not (manifest_path(now.out).is_file() and (now.out / "config.json").is_file()):
            continue
        if stage.number > count + 1:
            raise UsageError(
                f"{now.out} is complete, and stage {count + 1} ({stages[count].name}) before it is not",
                fix=f"rm -r {now.out} to train it on top of that, or start afresh with --force",
            )
        _check_complete(now, stage)
        count, model_path = stage.number, now.out
    return count


def _check_complete(now: Request, stage: Stage) -> None:
    made = read_manifest(now.out).body
    before_options = made.get("options")
    if not isinstance(before_options, dict):
        raise SeaError(f"{manifest_path(now.out)}: no manifest of a training run", fix="start afresh with --force")
    wanted = stage.options.identity() | {"max_steps": stage.options.max_steps}
    if stage.options.max_steps is None:
        wanted["epochs"] = stage.options.epochs
    for name, value in wanted.items():
        before = str(before_options.get(name)) if name == "clip" else before_options.get(name)
        if name != "order" and before != value:
            raise _another_run(now.out, f"{name.replace('_', '-')} {before}", value)
    if folder_digest(now.model_path) not in {row.get("sha256") for row in made["inputs"]}:
        raise _another_run(now.out, "another model", f"{now.model_path}")
    looked = look_at(now, stage.options)
    if looked.begun is not None:
        check_spool(looked.begun, origin_of(now, looked))
    elif looked.given:
        was = [(Path(row["path"]).name, row.get("bytes")) for row in made["inputs"] if "source" in row]
        if was != [(path.name, path.stat().st_size) for path in looked.given]:
            raise _another_run(now.out, ", ".join(name for name, _ in was), ", ".join(map(str, looked.given)))


def _another_run(out: Path, was: str, now: object) -> UsageError:
    fix = "repeat the options of the first run, or start afresh with --force"
    return UsageError(f"{out} was trained with {was}, now {now}", fix=fix)


def _join_metrics(out: Path, stages: Sequence[Stage]) -> None:
    lines: list[bytes] = []
    before = 0
    for stage in stages:
        rows: list[dict[str, Any]] = []
        for line in (out / FOLDER / stage.folder / METRICS).read_bytes().splitlines():
            rows.append(orjson.loads(line))
        lines += [orjson.dumps({**row, "step": row["step"] + before, "stage": stage.name}) + b"\n" for row in rows]
        before += max((row["step"] for row in rows), default=0)
    write_atomic(out / METRICS, b"".join(lines))


def _publish(stage_out: Path, out: Path) -> None:
    """Hard links of a stage's model, config.json last; copies where the file system has none."""
    own = {METRICS, CHECKPOINTS, SPOOL, PICTURE}
    files = [path for path in stage_out.iterdir() if path.is_file() and path.name not in own]
    for path in sorted(files, key=lambda path: path.name == "config.json"):
        temporary = out / f".{path.name}.tmp"
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
        temporary.replace(out / path.name)
