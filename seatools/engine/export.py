"""The trained model as a Hugging Face folder at the top of a run's OUT, complete or not there.

Files are made in a hidden folder inside OUT, flushed to the disk, and moved into place with config.json last, so that
a reader, or a crash in between, sees a whole model or none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from seatools.engine.load import save_model
from seatools.streams.outputs import sync_file, sync_folder


def export_folder(
    model: PreTrainedModel, out: Path, *, base: Path, add_files: Callable[[Path], None], chat_template: Path | None
) -> None:
    """Write `model` into `out`. `add_files` puts the tokenizer's files into a folder; `base` is the model it began as.

    generation_config.json is that of `base`, where it has one; chat_template.jinja is `chat_template` (a Jinja file of
    the user's), else what `add_files` brought, else that of `base`.
    """
    temporary = out / ".final.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        save_model(model, temporary)
        add_files(temporary)
        if (base / "generation_config.json").is_file():  # save_model writes one of its own for a fresh model
            shutil.copyfile(base / "generation_config.json", temporary / "generation_config.json")
        kept = temporary / "chat_template.jinja"
        template = chat_template or (base / kept.name if not kept.exists() and (base / kept.name).is_file() else None)
        if template is not None:
            shutil.copyfile(template, kept)
        files = sorted(temporary.iterdir(), key=lambda file: file.name == "config.json")
        for file in files:
            sync_file(file)
        for file in files:
            file.replace(out / file.name)
        sync_folder(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
