"""Everything before a model is loaded: settings checked, data read, every prompt rendered, tokenised and planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatools.engine.world import World
from seatools.eval.answer_requests import answer_requests
from seatools.eval.choice_requests import choice_requests
from seatools.eval.deactivation import Pass
from seatools.eval.evaluation import Evaluation
from seatools.eval.items import ChoiceItem, PerplexityItem, TokenizerItem
from seatools.eval.judge_tasks import as_judged, can_be_judged, is_judged
from seatools.eval.prompts_shown import show_prompt
from seatools.eval.requests import CountRequest, Request, ScoreRequest, Setup, digest16
from seatools.eval.sources import Source, name_sources
from seatools.eval.tasks import Asked, Named, ask, assign
from seatools.eval.text_requests import text_requests, text_settings
from seatools.eval.token_requests import token_requests
from seatools.eval.units import Unit, plan_units
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import Record, Rejects
from seatools.streams.subcommands import check_model_exists

PARALLEL = ("perplexity", "tokenizer")
"""Types of tasks whose texts may be parallel."""


@dataclass(frozen=True)
class Questions:
    """Everything that will be asked, in the order of tasks and languages."""

    asked: tuple[Asked, ...]
    requests: tuple[tuple[Request, ...], ...]
    """Of each of `asked`."""
    units: tuple[Unit, ...]

    @property
    def all_requests(self) -> list[Request]:
        return [request for own in self.requests for request in own]

    @property
    def needs_model(self) -> bool:
        """Whether a model is asked, and not its tokenizer alone."""
        return any(group.file.needs_model for group in self.asked)


def fills_gpu(evaluation: Evaluation, tasks: Sequence[Named]) -> bool:
    """Whether answers come in the larger groups of an engine that fills a GPU."""
    if not any(task.file.needs_model for task in tasks):
        return False
    from seatools.engine.device import pick_device

    engine = evaluation.options.engine
    if engine in ("auto", "transformers"):
        return pick_device(evaluation.device.partition(":")[0]).type == "cuda"
    return engine == "vllm"


def check(evaluation: Evaluation, tasks: Sequence[Named], world: World) -> None:
    """Raises UsageError for settings that exclude each other or the tasks; no file is read."""
    if not evaluation.data and not evaluation.hf:
        needs = tasks[0].file.needs
        raise UsageError("no data to score", fix=f"--data LANG=FILE of records with {needs}")
    if evaluation.data and evaluation.hf:
        raise UsageError("--data and --hf exclude each other")
    options = evaluation.options
    if options.format != "auto" and not any(task.name == "choice" for task in tasks):
        raise UsageError("--format is for the task choice; the other tasks have one format each")
    if options.shots and not any(task.takes_shots for task in tasks):
        raise UsageError(f"no shots in the task {tasks[0].name}")
    if (options.shots or 0) > 0 and not (evaluation.shots_data or evaluation.hf):
        raise UsageError("--shots and --shots-data go together", fix="--shots K --shots-data LANG=FILE")
    if evaluation.shots_data and options.shots == 0:
        raise UsageError("--shots-data with --shots 0", fix="drop one")
    if options.reference is not None and not any(task.file.type in PARALLEL for task in tasks):
        raise UsageError("--reference is for the tasks perplexity and tokenizer")
    changed = "--deactivate" if evaluation.deactivate else "--apply-patch" if evaluation.patches else None
    if changed is not None and not any(task.file.needs_model for task in tasks):
        raise UsageError(f"{changed} changes no token: the task {tasks[0].name} asks the tokenizer alone")
    if evaluation.judge is not None and not any(can_be_judged(task.file) for task in tasks):
        raise UsageError("--judge, but no task has answers for a judge", fix="seabench, searefuse, multijail")
    if options.pairs and not any(task.file.type == "translation" for task in tasks):
        raise UsageError("--pair is for translations of aligned lines", fix="the tasks flores and ntrex")
    if evaluation.shard[1] > 1 and (evaluation.samples is None or evaluation.output is not None):
        raise UsageError(
            "a shard gives samples, not scores", fix="--samples FILE and no -o; then sea eval score FILE... -o OUT"
        )
    if world.size > 1 and evaluation.samples_path is None:
        raise UsageError("several processes need a file for their samples", fix="--samples FILE or -o FILE")


def read_sources(
    evaluation: Evaluation, tasks: Sequence[Named], spool: Mapping[str, str], rejects: Rejects
) -> tuple[list[Source], list[Source]]:
    """The data and the shots; `spool` says where stdin lies."""
    from seatools.eval.hub_data import read_hub
    from seatools.eval.item_data import read_data
    from seatools.eval.task_file import AUTO, load_task

    files = [task.file for task in tasks]
    if any(task.name == "choice" for task in tasks):
        files += [load_task(name) for name in AUTO]
    shots = read_data(name_sources(evaluation.shots_data), spool, files, rejects=rejects, shots=True)
    if not evaluation.hf:
        return read_data(name_sources(evaluation.data), spool, files, rejects=rejects), shots
    sources: list[Source] = []
    for task in tasks:
        evaluation.messages.info(f"reading the data of {task.name} from the hub: {', '.join(evaluation.hf)}")
        sources += read_hub(task.file, evaluation.hf)
        wanted = evaluation.options.shots if evaluation.options.shots is not None else task.file.shots.count
        if wanted and not evaluation.shots_data:
            shots += read_hub(task.file, evaluation.hf, shots=True)
    return sources, shots


def new_setup(evaluation: Evaluation, tasks: Sequence[Named], rejects: Rejects, sources: Sequence[Source]) -> Setup:
    """The tokenizer and its like; of the model, where one is asked, how much it reads."""
    from seatools.text.documents import load_documents

    folder = Path(evaluation.model)
    if any(task.file.type != "tokenizer" for task in tasks):  # those take a tokenizer alone
        check_model_exists(folder)
    documents = load_documents(
        folder, pattern=evaluation.pattern, chat_template=evaluation.chat_template, add_eos=False,
        note=evaluation.messages.debug,
    )  # fmt: skip
    positions = None
    if any(task.file.needs_model for task in tasks):
        from seatools.engine.load import model_positions

        positions = model_positions(folder)
    records: dict[str, Record] = {record.where: record for source in sources for record in source.records}
    return Setup(
        folder, documents, positions, evaluation.options, evaluation.messages, rejects, records,
        evaluation.workers,
    )  # fmt: skip


def new_questions(
    tasks: Sequence[Named], sources: Sequence[Source], shots: Sequence[Source], setup: Setup, *, larger: bool,
    judge: str | None = None,
) -> Questions:  # fmt: skip
    """Every item of every task, tokenised and planned; `larger`: groups of prompts for an engine that fills a GPU."""
    given = assign(tasks, sources)
    asked: list[Asked] = []
    requests: list[tuple[Request, ...]] = []
    for task in tasks:
        groups = ask(task, given[task.name], shots, setup.options, rejects=setup.rejects)
        if any(group.chat for group in groups) and setup.documents.template is None:
            raise SeaError(
                f"{task.name} is asked as a chat, and {setup.tokenizer.path} has no chat template",
                fix="give one with --chat-template FILE, or take a chat model",
            )
        groups = [as_judged(group) if is_judged(group, judge) else group for group in groups]
        made = [requests_of(group, setup) for group in groups]
        for group, own in zip(groups, made, strict=True):
            if not own:
                raise SeaError(f"no {_what(group)} left to score for {task.name}, {group.lang}")
            show_prompt(own[0], setup, private=group.file.private)
        asked += groups
        requests += [tuple(own) for own in made]
    if setup.options.reference is not None:
        from seatools.eval.parity import check_parallel

        counts: dict[str, dict[str, int]] = {}
        for group, own in zip(asked, requests, strict=True):
            if group.file.type in PARALLEL:
                counts.setdefault(group.task.name, {})[group.lang] = len(own)
        for by_lang in counts.values():
            check_parallel(by_lang, setup.options.reference)
    units = plan_units([request for own in requests for request in own], larger=larger)
    return Questions(tuple(asked), tuple(requests), tuple(units))


def _what(group: Asked) -> str:
    return {"choice": "question", "perplexity": "text", "tokenizer": "text"}.get(group.file.type, "prompt")


def requests_of(group: Asked, setup: Setup) -> Sequence[Request]:
    """The requests of one task in one language."""
    config = dict(group.config)
    if group.chat and setup.documents.template is not None:
        config["template_digest"] = digest16(setup.documents.template.source)
    items = group.items
    if group.file.type == "choice":
        return choice_requests([item for item in items if isinstance(item, ChoiceItem)], config, setup)
    if group.file.type == "perplexity":
        texts = [item for item in items if isinstance(item, PerplexityItem)]
        return text_requests(texts, config | text_settings(setup), setup)
    if group.file.type == "tokenizer":
        return token_requests([item for item in items if isinstance(item, TokenizerItem)], config, setup)
    if setup.options.engine != "auto":
        config["engine"] = setup.options.engine
    config["stop_ids"] = sorted(setup.stop_ids)  # generation_config.json may name others, and no digest covers it
    return answer_requests(items, config, setup)


def tell_plan(evaluation: Evaluation, questions: Questions, passes: Sequence[Pass]) -> None:
    """What a run would do, for --dry-run."""
    times = f", {len(passes)} times" if len(passes) > 1 else ""
    readings: dict[str, int] = {}
    for group, own in zip(questions.asked, questions.requests, strict=True):
        count = sum(len(request.docs) if isinstance(request, ScoreRequest) else 1 for request in own)
        if own and isinstance(own[0], CountRequest):
            evaluation.messages.info(f"{group.task.name}, {group.lang}: {count:,} texts, counted without the model")
            continue
        readings[group.task.name] = readings.get(group.task.name, 0) + count
    messages = evaluation.messages
    for name, count in readings.items():
        messages.info(f"{name}: {count:,} readings of the model{times}")
    tokens = sum(unit.weight for unit in questions.units if not unit.is_counted)
    messages.info(f"{len(questions.units):,} units of work, about {tokens:,} tokens to read{times}")
    messages.info(f"would write scores to {evaluation.output or 'stdout'}; nothing is written")
