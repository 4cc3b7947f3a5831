"""Reading and checking a task's TOML: all that can be wrong with a file is said here, before a row is read.

Keys and their types are those of task_keys.py; every template is compiled, and a name in it that no row has is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatools.eval.row_shapes import TYPES, Column, Shape
from seatools.eval.task_keys import ANSWER_FORMS, SCORINGS, check_keys, word
from seatools.eval.task_parts import Choice, HuggingFace, Judge, Shots, TaskFile
from seatools.eval.templates import Expression, Template
from seatools.streams.errors import UsageError
from seatools.streams.parsed import parse_toml

GIVEN = frozenset(["row", "lang", "words", "options", "letters", "gold"])
"""What every template may read beside the columns; on equal names these win, and the column is `row.NAME`."""
PAIR = frozenset(["source", "target", "source_lang", "target_lang", "source_words", "target_words"])
"""What the templates of a translation of line-aligned files may read."""


def parse_task(text: str, where: str, variant: str = "") -> TaskFile:
    """A task from the text of its file."""
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise UsageError(f"not valid TOML: {error}", where=where) from None
    variants = table.pop("variants", {})
    if not isinstance(variants, dict) or not all(isinstance(own, dict) for own in variants.values()):
        raise UsageError("[variants.NAME] must be tables", where=where)
    if variant:
        if variant not in variants:
            known = f"it has {', '.join(variants)}" if variants else "it has none"
            raise UsageError(f'no variant "{variant}" of {table.get("name", where)}', fix=known)
        table = _laid_over(table, variants[variant])
    return _Reader(table, where).task(variant, tuple(variants))


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above`; tables merge, all else is replaced; "" takes a key away."""
    merged = dict(below)
    for key, value in above.items():
        own = merged.get(key)
        merged[key] = _laid_over(own, value) if isinstance(own, dict) and isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value != ""}


class _Reader:
    """Reads the tables of one file."""

    def __init__(self, table: Mapping[str, Any], where: str) -> None:
        self.table, self.where = table, where
        check_keys(table, "", where)
        self.words: dict[str, dict[str, Any]] = dict(table.get("words", {}))

    def task(self, variant: str, variants: tuple[str, ...]) -> TaskFile:
        table, where = self.table, self.where
        type_ = word(table, "type", where)
        shapes = self._shapes()
        of = "generation" if type_ == "translation" else type_
        body = dict(table.get(of, {}))
        check_keys(body, of, where)
        asked = table.get("choice") if type_ in ("choice", "generation") else None
        if asked is not None:
            check_keys(asked, "choice", where)
            body = {key: asked[key] for key in ("prompt", "delimiter") if key in asked} | body
        self.known = GIVEN | (PAIR if type_ == "translation" else frozenset().union(*(s.names for s in shapes)))
        chat, shots = table.get("chat", {}), self._shots()
        scoring = body.get("scoring", {"choice": "choice", "perplexity": "bits_per_byte", "tokenizer": "tokens",
                                       "translation": "chrf", "judge": "mark"}.get(type_, ""))  # fmt: skip
        if scoring not in SCORINGS[type_]:
            raise UsageError(f'{type_}.scoring is "{scoring}", none of {", ".join(SCORINGS[type_])}', where=where)
        name = word(table, "name", where)
        task = TaskFile(
            name=f"{name}:{variant}" if variant else name,
            about=word(table, "about", where),
            cite=str(table.get("cite", "")),
            type=type_,
            where=where,
            table=table,
            shapes=shapes,
            words=self.words,
            languages=tuple(table.get("languages", self.words)),
            lang_column=table.get("lang_column"),
            lang_columns=bool(table.get("lang_columns", False)),
            hf=self._hf(),
            prompt=self._template(body, "prompt", of),
            messages=self._expression(body, "messages", type_),
            description=self._template(
                table.get("shots", {}), "description", "shots", more=("shots", "chat", "description")
            ),
            delimiter=body.get("delimiter", " "),
            choice=self._choice(asked) if asked is not None else None,
            expect={
                key: self._made(Expression, value, f"{type_}.expect.{key}")
                for key, value in body.get("expect", {}).items()
            },
            stop=tuple(self._made(Template, text, f"{type_}.stop") for text in body.get("stop", ())),
            max_new_tokens=body.get("max_new_tokens", 256),
            scoring=scoring,
            shots=shots,
            judge=self._judge(body) if type_ == "judge" else None,
            chat="required" if chat.get("required") or type_ == "judge" else "no",
            system=self._template(chat, "system", "chat"),
            chat_prompt=self._template(chat, "prompt", "chat"),
            private=bool(table.get("private", False)),
            variants=variants,
        )
        if type_ == "choice" and task.choice is None:
            raise UsageError("a task of type choice needs [choice]", where=where)
        if type_ in ("choice", "generation", "translation") and task.prompt is None and task.messages is None:
            raise UsageError(f"{type_} needs a prompt", where=where)
        if type_ != "translation" and not shapes:
            raise UsageError("a task needs [rows] with the columns of its data", where=where)
        if task.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {task.max_new_tokens}; it must be at least 1", where=where)
        return task

    def _made(self, kind: Any, source: Any, key: str, known: frozenset[str] | None = None) -> Any:
        if not isinstance(source, str):
            raise UsageError(f"{key} is {type(source).__name__}, not a string", where=self.where)
        made = kind(source, key, self.where)
        unknown = made.names - (self.known if known is None else known)
        if unknown:
            allowed = ", ".join(sorted(self.known if known is None else known))
            raise UsageError(
                f'{key} reads "{min(unknown)}", which no row has', where=self.where, fix=f"there are {allowed}"
            )
        return made

    def _template(self, table: Mapping[str, Any], key: str, of: str, more: Sequence[str] = ()) -> Template | None:
        if key not in table:
            return None
        made: Template = self._made(Template, table[key], f"{of}.{key}", self.known | set(more))
        return made

    def _expression(self, table: Mapping[str, Any], key: str, of: str) -> Expression | None:
        if key not in table:
            return None
        made: Expression = self._made(Expression, table[key], f"{of}.{key}")
        return made

    def _shapes(self) -> tuple[Shape, ...]:
        rows = self.table.get("rows", [])
        return tuple(self._shape(own, "rows") for own in (rows if isinstance(rows, list) else [rows]))

    def _shape(self, own: Any, of: str) -> Shape:
        check_keys(own, "rows", self.where)
        columns = tuple(self._column(name, kind, of) for name, kind in own.get("columns", {}).items())
        if not columns:
            raise UsageError(f"{of}.columns names no column", where=self.where)
        known = GIVEN | {column.name for column in columns}
        let = []
        for name, source in own.get("let", {}).items():
            let.append((name, self._made(Expression, source, f"{of}.let.{name}", known)))
            known |= {name}
        match = own.get("match", [column.name for column in columns if not column.optional])
        if isinstance(match, str):
            match = self._made(Expression, match, f"{of}.match", frozenset(["row"]))
        else:
            match = tuple(match)
        id_ = self._made(Expression, own["id"], f"{of}.id", known) if "id" in own else None
        return Shape(
            match, columns, tuple(let), tuple(own.get("unpack", ())), tuple(own.get("headerless", ())), id_,
            bool(own.get("auto", True)),
        )  # fmt: skip

    def _column(self, name: str, kind: Any, of: str) -> Column:
        if isinstance(kind, list) and kind:
            return Column(name, tuple(kind))
        optional = isinstance(kind, str) and kind.endswith("?")
        bare = kind.removesuffix("?") if isinstance(kind, str) else kind
        if bare not in TYPES:
            raise UsageError(
                f"{of}.columns.{name} is {kind!r}, no type of a column", where=self.where,
                fix=f"one of {', '.join(TYPES)}, with ? behind it where it may be missing, or a list of values",
            )  # fmt: skip
        return Column(name, bare, optional)

    def _choice(self, body: Mapping[str, Any]) -> Choice:
        for key in ("options", "answer"):
            if key not in body:
                raise UsageError(f"[choice] needs {key}", where=self.where)
        form = body.get("answer_as", "index")
        if form not in ANSWER_FORMS:
            raise UsageError(f"choice.answer_as is {form!r}, none of {', '.join(ANSWER_FORMS)}", where=self.where)
        if form == "name" and not body.get("names"):
            raise UsageError('choice.answer_as = "name" needs choice.names', where=self.where)
        score = body.get("score", "letters" if "letters" in body else "options")
        if score not in ("letters", "options") or (score == "letters" and "letters" not in body):
            raise UsageError('choice.score is "options" or, with choice.letters, "letters"', where=self.where)
        letters = body.get("letters", "")
        options = self._expression(body, "options", "choice")
        answer = self._expression(body, "answer", "choice")
        assert options is not None and answer is not None
        return Choice(
            options, answer, form, tuple(body.get("names", ())),
            letters if isinstance(letters, str) else tuple(letters),
            score == "letters", body.get("shuffle"), self._expression(body, "descriptions", "choice"),
        )  # fmt: skip

    def _shots(self) -> Shots:
        own = self.table.get("shots", {})
        shape = self._shape(own["rows"], "shots.rows") if "rows" in own else None
        known = GIVEN | (shape.names if shape else self.known)

        def template(key: str) -> Template | None:
            return self._made(Template, own[key], f"shots.{key}", known) if key in own else None

        if shape and "template" not in own:
            raise UsageError("[shots.rows] needs shots.template", where=self.where)
        same = tuple(self._made(Expression, one, "shots.same") for one in own.get("same", ()))
        return Shots(
            own.get("count", 0), same,
            bool(own.get("fewer", False)), own.get("separator", "\n\n"), shape,
            template("template"), template("answer"), template("prompt"),
        )  # fmt: skip

    def _judge(self, body: Mapping[str, Any]) -> Judge:
        for key in ("instruction", "turns", "users"):
            if not body.get(key):
                raise UsageError(f"[judge] needs {key}", where=self.where)
        systems = body.get("systems") or [""] * len(body["turns"])
        if not len(body["turns"]) == len(body["users"]) == len(systems):
            raise UsageError("judge.turns, judge.users and judge.systems must be equally many", where=self.where)
        known = self.known | {"answers", "aspects", "instruction"}

        def templates(sources: Sequence[Any], key: str) -> tuple[Template, ...]:
            return tuple(self._made(Template, source, f"judge.{key}", known) for source in sources)

        aspect_of = self._expression(body, "aspect_of", "judge")
        return Judge(
            self._made(Template, body["instruction"], "judge.instruction", known), templates(body["turns"], "turns"),
            templates(systems, "systems"), body.get("judge_tokens", 1024),
            tuple(self._made(Expression, user, "judge.users") for user in body["users"]), dict(body.get("aspects", {})),
            aspect_of,
        )  # fmt: skip

    def _hf(self) -> HuggingFace | None:
        own = self.table.get("hf")
        if own is None:
            return None
        config = Template(own["config"], "hf.config", self.where) if "config" in own else None
        return HuggingFace(
            own["path"], config, own.get("split", "test"), own.get("shots_split"), dict(own.get("configs", {}))
        )
