"""What a run needs before any answer: tokenizer, template and room of the model; and what decides its answers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from seatools import __version__
from seatools.engine.world import World
from seatools.sample.options import SampleOptions, is_remote
from seatools.sample.questions import Asker, Question
from seatools.sample.translation import is_identified, read_translation_prompts
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.text.documents import Documents
from seatools.text.stop_tokens import stop_ids, turn_end_ids
from seatools.text.system_turn import check_system_turn

_TRANSLATION_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What the command line asks for, and where things go."""

    model: str
    """A folder; for a server what it calls the model."""
    inputs: tuple[str, ...]
    output: str | None = None
    options: SampleOptions = dataclasses.field(default_factory=SampleOptions)
    resume: bool = False
    shard: tuple[int, int] = (0, 1)
    chat_template: Path | None = None
    pattern: str | None = None
    translation_prompts: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    limit: int | None = None
    force: bool = False
    dry_run: bool = False
    on_error: str = "fail"
    quarantine: str | None = None
    messages: Messages = Messages()

    @property
    def output_path(self) -> str | None:
        """The output where it is a file."""
        return None if self.output in (None, "-") else self.output

    @property
    def is_remote(self) -> bool:
        """Whether a server answers."""
        return is_remote(self.options.engine)


def new_asker(sampling: Sampling) -> Asker:
    """Makes questions of this run's prompts. Raises UsageError for what cannot go together."""
    options = sampling.options
    translation = None
    if options.from_lang is not None:
        translation = read_translation_prompts(sampling.translation_prompts, options.from_lang)
        if options.lang is not None and translation.entry(options.lang) == translation.entry(options.from_lang):
            raise UsageError(f"--lang {options.lang} is the language of the prompts", fix="another --lang")
    elif sampling.translation_prompts is not None:
        raise UsageError("--translation-prompts goes with --from-prompts-in LANG")
    if sampling.is_remote:
        length = options.translation_tokens or _TRANSLATION_TOKENS
        return Asker(dataclasses.replace(options, translation_tokens=length), None, None, translation)
    from seatools.engine.load import model_positions
    from seatools.text.documents import load_documents

    documents = load_documents(
        sampling.model, pattern=sampling.pattern, chat_template=sampling.chat_template, note=sampling.messages.debug
    )
    _check_template(options, documents)
    positions = model_positions(Path(sampling.model))
    length = options.translation_tokens or min(_TRANSLATION_TOKENS, (positions or 1 << 30) // 2)
    options = dataclasses.replace(options, translation_tokens=length)
    wanted = [("--max-new-tokens", options.max_new_tokens)]
    wanted += [("--translation-tokens", length)] if translation is not None else []
    for flag, longest in wanted:
        if positions is not None and positions <= longest:
            what = f"{flag} {longest} leaves no room in the model's {positions} positions"
            raise UsageError(what, fix=f"a lower {flag}")
    return Asker(options, documents, positions, translation)


def _check_template(options: SampleOptions, documents: Documents) -> None:
    for flag, wanted in (("--system", options.system is not None), ("--chat", options.chat)):
        if wanted and documents.template is None:
            raise UsageError(f"{flag} needs a chat template", fix="--chat-template FILE")
    if options.system is not None and documents.template is not None:
        turns = [{"role": "system", "content": options.system}, {"role": "user", "content": "hello"}]
        try:
            check_system_turn(documents.template, turns)
        except SeaError as error:
            raise UsageError(f"--system: {error.what}", where=error.where, fix=error.fix) from error


def fills_gpu(sampling: Sampling) -> bool:
    """Whether units are as large as an engine on a GPU takes them."""
    if sampling.is_remote or sampling.options.engine == "vllm":
        return not sampling.is_remote
    from seatools.engine.device import pick_device

    return pick_device(sampling.device.partition(":")[0]).type == "cuda"


def ending_ids(sampling: Sampling, documents: Documents | None) -> frozenset[int]:
    """The tokens that end an answer: EOS and BOS, what the model's files name, and what ends a turn of its chats."""
    if documents is None:
        return frozenset()
    found = stop_ids(documents.tokenizer, Path(sampling.model))
    return found | turn_end_ids(documents) if documents.template is not None else found


def run_settings(sampling: Sampling, asker: Asker, world: World, questions: Sequence[Question]) -> dict[str, Any]:
    """What decides every answer of a run: where it is equal, so are the answers. The model's digest is its `model`."""
    from seatools.streams.digests import folder_digest

    options, documents = asker.options, asker.documents
    keys = hashlib.sha256("".join(question.key for question in questions).encode()).hexdigest()
    found: dict[str, Any] = {"model": sampling.model, "engine": options.engine}
    if documents is not None:
        from seatools.engine.device import pick_device, pick_dtype

        device = world.device or pick_device(sampling.device)
        found["model"] = world.first(folder_digest(sampling.model) if world.is_main else None)
        found |= {
            "tokenizer": documents.tokenizer.digest()[:16], "template": _template_digest(documents),
            "dtype": str(pick_dtype(sampling.dtype, device)).removeprefix("torch."), "device": device.type,
        }  # fmt: skip
    if asker.translation is not None:
        found["translation"] = {
            "from": options.from_lang, "lang": options.lang, "prompts": asker.translation.digest,
            "max_new_tokens": options.translation_tokens, "cld2": is_identified(),
        }  # fmt: skip
    found |= {"num": options.num, **options.told, "batch_tokens": options.batch_tokens}
    found |= {"shard": list(sampling.shard), "on_error": sampling.on_error == "fail"}
    return found | {"prompts": len(questions), "prompts_digest": keys, "version": __version__}


def _template_digest(documents: Documents) -> str | None:
    if documents.template is None:
        return None
    body = orjson.dumps([documents.template.source, dict(documents.template.variables)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()[:16]
