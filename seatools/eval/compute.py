"""The computing part: units that are missing from the samples, with a model loaded only where there are any.

A judge comes after all answers: the model makes room for it, and its judgements are units like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.engine.world import World
from seatools.eval.deactivation import Pass
from seatools.eval.evaluation import Evaluation
from seatools.eval.judge_tasks import (
    Judgement,
    JudgeName,
    RecordedJudgements,
    judge_name,
    judge_requests,
    judged_result,
    judgements,
)
from seatools.eval.prepare import Questions
from seatools.eval.requests import Request, Setup, digest16
from seatools.eval.sample_store import SampleStore
from seatools.eval.units import Unit, plan_units

if TYPE_CHECKING:
    from seatools.eval.engines import Engines


class Run:
    """The computing part: units that are missing, with the model loaded where there are any."""

    def __init__(
        self, evaluation: Evaluation, setup: Setup, questions: Questions, passes: Sequence[Pass], store: SampleStore,
        world: World,
    ) -> None:  # fmt: skip
        self.evaluation, self.setup, self.questions, self.passes = evaluation, setup, questions, passes
        self.store, self.world = store, world
        self.device = str(world.device) if world.size > 1 else evaluation.device
        self.common: dict[str, Any] = {
            "model": evaluation.model, "tokenizer_digest": setup.tokenizer.digest()[:16], "template_digest": None,
        }  # fmt: skip
        self.model_digest: str | None = None
        """Of the weights and all beside them; None where no task asks the model."""
        if questions.needs_model:
            from seatools.engine.device import pick_device, pick_dtype
            from seatools.streams.digests import folder_digest

            self.model_digest = str(world.first(folder_digest(setup.model_path) if world.is_main else None))
            dtype = str(pick_dtype(evaluation.dtype, pick_device(self.device))).removeprefix("torch.")
            self.common |= {"model_digest": self.model_digest[:16], "dtype": dtype}
        self.judge = judge_name(evaluation.judge) if evaluation.judge is not None else None
        self.keys: list[str] = []
        """Of all samples of this run, by pass, task and language."""
        self._engines: Engines | None = None

    def compute(self) -> None:
        """Compute what is not in the store; `keys` tells what is there then."""
        configs = [self.common | one.config for one in self.passes]
        for config in configs:
            self.keys += [request.key(config) for request in self.questions.all_requests]
        self.keys = list(dict.fromkeys(self.keys))  # counts of tokens are the same under every pass
        self._answer(configs)
        if self.judge is not None and any(group.judged for group in self.questions.asked):
            self._engines = None
            self._share()
            for config in configs:
                self._judge(config, self.judge)
        self._share(last=True)

    def _share(self, *, last: bool = False) -> None:
        """Put what all processes have computed into the one file that all read."""
        if not self.world.is_main:
            self.store.close()
        self.world.barrier()
        self.store.gather()
        self.world.barrier()
        if not self.world.is_main and not last:
            self.store.open()

    def _answer(self, configs: Sequence[dict[str, Any]]) -> None:
        from seatools.streams.progress import Progress

        todo = self._missing(self.questions.units, configs)
        known = sum(key in self.store for key in self.keys)
        if known:
            self.evaluation.messages.info(f"{self.store.path} holds {known:,} of {len(self.keys):,} answers already")
        mine = todo[self.world.rank :: self.world.size]
        with Progress("scoring", sum(unit.weight for _, unit in mine), "tokens", self._quiet) as progress:
            for place, one in enumerate(self.passes):
                own = [unit for at, unit in mine if at == place]
                if place == 0 and own:
                    self._run(own, configs[0], progress.advance)
                elif own:
                    one.check(self.engines.model)
                    with one.applied(self.engines.model):
                        self._run(own, configs[place], progress.advance, own_loop=True)

    def _run(
        self, units: Sequence[Unit], config: dict[str, Any], advance: Callable[[float], None], *, own_loop: bool = False
    ) -> None:
        for unit in units:
            results = self.engines.results(unit, advance, own_loop=own_loop)
            for request, result in zip(unit.requests, results, strict=True):
                self.store.add(request.sample(config, result))

    @property
    def _quiet(self) -> bool:
        return self.evaluation.messages.quiet or not self.world.is_main

    def _missing(self, units: Sequence[Unit], configs: Sequence[dict[str, Any]]) -> list[tuple[int, Unit]]:
        """(pass, unit) of this shard with a sample that is not in the store."""
        number, count = self.evaluation.shard
        return [
            (place, unit) for place, config in enumerate(configs) for at, unit in enumerate(units)
            if at % count == number and not (place and unit.is_counted)
            and not all(request.key(config) in self.store for request in unit.requests)
        ]  # fmt: skip

    @property
    def engines(self) -> Engines:
        """The model of the run."""
        if self._engines is None:
            from seatools.eval.engines import Engines

            self._engines = Engines(
                self.setup, engine=self.evaluation.options.engine, device=self.device, dtype=self.evaluation.dtype,
                name=self.evaluation.model,
            )  # fmt: skip
        return self._engines

    def _judge(self, config: dict[str, Any], judge: JudgeName) -> None:
        """The judgements about the answers of one pass, as far as these are there."""
        asked: list[Judgement] = []
        for group, requests in zip(self.questions.asked, self.questions.requests, strict=True):
            if group.judged:
                there = [request for request in requests if request.key(config) in self.store]
                answers = self.store.read([request.key(config) for request in there])
                asked += judgements(group, there, answers)
        if judge.kind == "file":
            requests_to = [Request(item=one.item, config={**one.request.config, **judge.config}) for one in asked]
            recorded = RecordedJudgements(judge.text).said(asked)
            for one, request, own in zip(asked, requests_to, recorded, strict=True):
                if self.world.is_main:
                    self.store.add(request.sample(config, judged_result(one, own)))
            self.keys += [request.key(config) for request in requests_to]
            return
        from seatools.eval.engines import Engines
        from seatools.streams.progress import Progress

        setup = _judge_setup(self.setup, judge, self.evaluation)
        url, _, name = judge.text.partition("#")
        engine = url if judge.kind == "server" else "auto"
        engines = Engines(setup, engine=engine, device=self.device, dtype=self.evaluation.dtype, name=name)
        told = dict(judge.config)
        if judge.kind == "model" and setup.documents.template is not None:
            told["judge_template"] = digest16(setup.documents.template.source)
        made = judge_requests(asked, told, setup)
        by_item = {id(request): one for request, one in zip(made, asked, strict=True)}
        self.keys += [request.key(config) for request in made]
        mine = [unit for _, unit in self._missing(plan_units(made), [config])][self.world.rank :: self.world.size]
        with Progress("judging", sum(unit.weight for unit in mine), "tokens", self._quiet) as progress:
            for unit in mine:
                for request, said in zip(unit.requests, engines.results(unit, progress.advance), strict=True):
                    self.store.add(request.sample(config, judged_result(by_item[id(request)], said)))


def _judge_setup(setup: Setup, judge: JudgeName, evaluation: Evaluation) -> Setup:
    """The judge's tokenizer and template; a server has its own, so the model's count its prompts."""
    from seatools.engine.load import model_positions
    from seatools.text.documents import load_documents

    options = replace(setup.options, engine="auto")
    if judge.kind == "server":
        return replace(setup, positions=None, options=options)
    folder = Path(judge.text)
    documents = load_documents(folder, add_eos=False, note=evaluation.messages.debug)
    return replace(setup, model_path=folder, documents=documents, positions=model_positions(folder), options=options)
