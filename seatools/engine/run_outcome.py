"""The end of a run: its model as a folder, its curves, its manifest, and what was trained as a patch."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.engine.curves import PICTURE, save_curves
from seatools.engine.new_rows import NEW_ROWS, NEW_TOKENS
from seatools.engine.patch import save_patch
from seatools.engine.run_folder import METRICS
from seatools.engine.run_request import RunRequest
from seatools.engine.trackers import open_tracker
from seatools.engine.train_spec import parse_train
from seatools.engine.training_options import TrainingOptions
from seatools.engine.world import World
from seatools.streams.manifest import Manifest

if TYPE_CHECKING:
    from seatools.engine.trainee import Trainee
    from seatools.text.tokenizer import Tokenizer


@contextlib.contextmanager
def tracked(
    request: RunRequest, options: TrainingOptions, world: World
) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """What `run_steps` calls with each metrics line: the run's trackers, open for the time of the `with`."""
    with contextlib.ExitStack() as closing:
        trackers = [
            open_tracker(name, request.out, options=dataclasses.asdict(options))
            for name in request.track
            if world.is_main
        ]
        for tracker in trackers:
            closing.callback(tracker.close)

        def track(line: dict[str, Any]) -> None:
            for tracker in trackers:
                tracker(line)

        yield track if trackers else None


def write_outcome(
    request: RunRequest,
    options: TrainingOptions,
    trainee: Trainee,
    manifest: Manifest,
    *,
    tokenizer: Tokenizer,
    model_digest: str,
    world: World,
) -> bool:
    """Write all of it into `request.out`; whether this is the process that did. Every rank calls it."""
    from seatools.engine.export import export_folder
    from seatools.engine.shard import unshared_copy
    from seatools.engine.trained_parts import trained_slices

    out, messages = request.out, request.messages
    slices = trained_slices(trainee.model, trainee.parts) if request.save_patch is not None else []
    model = unshared_copy(trainee.model, world, trainee.dtype) if trainee.shared else trainee.model
    if not world.is_main or model is None:
        return False
    export_folder(
        model, out, base=request.model_path, add_files=lambda folder: _add_files(request, tokenizer, folder),
        chat_template=request.chat_template,
    )  # fmt: skip
    if request.plot is not False:
        save_curves(out / METRICS, request.plot or out / PICTURE, messages, asked_for=request.plot is not None)
    manifest.write(out)
    if request.save_patch is not None:
        save_patch(
            request.save_patch, request.model_path, slices, base_digest=model_digest,
            tokenizer_digest=tokenizer.digest(), trained=options.train, languages=_languages(options),
            messages=messages, force=request.force or request.resume,
        )  # fmt: skip
        messages.info(f"{request.save_patch}: what was trained, as a patch of {request.model_path}")
    return True


def _languages(options: TrainingOptions) -> tuple[str, ...]:
    """The languages whose neurons were trained; all that the files have, if none was chosen."""
    if options.neuron_langs:
        return options.neuron_langs
    from seatools.engine.neurons import load_neurons

    return tuple(sorted({lang for name in parse_train(options.train).neurons for lang in load_neurons(name)[0]}))


def _add_files(request: RunRequest, tokenizer: Tokenizer, folder: Path) -> None:
    """The tokenizer, and the lists by which a further run knows the new rows."""
    tokenizer.save(folder)
    for name in (NEW_ROWS, NEW_TOKENS):
        if (request.model_path / name).is_file():
            shutil.copyfile(request.model_path / name, folder / name)
