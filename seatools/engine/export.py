"""The trained model as a Hugging Face folder at the top of a run's OUT, complete or not there.

Files are made in a hidden folder inside OUT and moved into place with config.json last, so that a reader, or a crash
in between, sees a whole model or none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from seatools.engine.load import save_model


def export_folder(
    model: PreTrainedModel, out: Path, *, base: Path, add_files: Callable[[Path], None], chat_template: Path | None
) -> None:
    """Write `model` into `out`. `add_files` puts the tokenizer's files into a folder; `base` is the model it began as.

    generation_config.json and chat_template.jinja come from `base` when nothing else wrote them; `chat_template`, a
    Jinja file of the user's, replaces the latter.
    """
    temporary = out / ".final.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        save_model(model, temporary)
        add_files(temporary)
        for name in ("generation_config.json", "chat_template.jinja"):
            if (base / name).is_file() and not (temporary / name).exists():
                shutil.copyfile(base / name, temporary / name)
        if chat_template is not None:
            shutil.copyfile(chat_template, temporary / "chat_template.jinja")
        for file in sorted(temporary.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
