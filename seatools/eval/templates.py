"""Jinja2 for task files: prompts from a row's fields, in the sandbox that transformers gives chat templates.

The bounded sandbox of text/template_limits.py with `trim_blocks` and `lstrip_blocks`; no loader, and includes,
imports and names with a leading underscore are refused when the file is read, so a task file is data. Unknown names
are found then too: a typing error is no empty string in ten thousand prompts. Compiling costs 1 ms, rendering 50 us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from seatools.eval.option_labels import letter_index, option_label, without_label
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord

if TYPE_CHECKING:
    import jinja2


def without_stop(text: str) -> str:
    """Without its full stop, if it ends with one (scripts that have none keep their last letter)."""
    return text.removesuffix(".").removesuffix("。")


def lower_first(text: str) -> str:
    """With its first letter in lower case."""
    return text[:1].lower() + text[1:]


def capital_first(text: str) -> str:
    """With its first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]


FILTERS: dict[str, Callable[..., Any]] = {
    "without_stop": without_stop,
    "lower_first": lower_first,
    "capital_first": capital_first,
    "option_label": option_label,
    "without_label": without_label,
    "letter_index": letter_index,
}


@lru_cache
def _environment() -> jinja2.Environment:
    import jinja2

    from seatools.text.template_limits import BoundedEnvironment

    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
        autoescape=False,
    )  # fmt: skip
    environment.filters.update(FILTERS)
    return environment


@dataclass(frozen=True)
class Template:
    """Jinja text of a task file; `key` and `where` name it in messages."""

    source: str
    key: str
    where: str
    names: frozenset[str] = field(init=False)
    """The variables that it reads."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked(self.source, self.key, self.where))

    def render(self, values: Mapping[str, Any]) -> str:
        """Raises BadRecord where the row lacks what the template asks of it."""
        from seatools.text.template_limits import within_limits

        with _explained(self.key, self.where):
            given = {name: values[name] for name in self.names if name in values}
            return str(within_limits(_compiled(self.source).render, given))


@dataclass(frozen=True)
class Expression:
    """A Jinja expression, which gives a value: a list, a number, a text."""

    source: str
    key: str
    where: str
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked("{{" + self.source + "}}", self.key, self.where))

    def value(self, values: Mapping[str, Any]) -> Any:
        """Raises BadRecord where the row lacks what the expression asks of it."""
        import jinja2

        from seatools.text.template_limits import within_limits

        if self.source in values:  # most are the name of a column: a sixth of the cost
            return values[self.source]
        with _explained(self.key, self.where):
            given = {name: values[name] for name in self.names if name in values}
            found = within_limits(_compiled_expression(self.source), given)
            for one in found if isinstance(found, list | tuple) else (found,):
                if isinstance(one, jinja2.Undefined):
                    str(one)  # raises, saying what is not there
        return found


@lru_cache(maxsize=1024)
def _compiled(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@lru_cache(maxsize=1024)
def _compiled_expression(source: str) -> Any:
    return _environment().compile_expression(source, undefined_to_none=False)


_OF_THE_ROW = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, SyntaxError)


@contextmanager
def _explained(key: str, where: str) -> Iterator[None]:
    """What a template does to a row is the row's fault, told with the template's name."""
    import jinja2

    try:
        yield
    except SeaError:
        raise
    except jinja2.TemplateError as error:
        raise BadRecord("template", f"{key} of {where} does not accept this row: {error}") from error
    except _OF_THE_ROW as error:
        raise BadRecord("template", f"{key} of {where} does not accept this row: {error}") from error


def _checked(source: str, key: str, where: str) -> frozenset[str]:
    import jinja2
    from jinja2 import meta, nodes

    try:
        tree = _environment().parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise UsageError(f"{key} is not valid Jinja: {error.message}", where=where) from None
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of 5,000 digits
        raise UsageError(f"{key} cannot be parsed: {str(error)[:200]}", where=where) from None
    if next(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None) is not None:
        raise UsageError(f"{key}: templates include and import nothing", where=where)
    for found in tree.find_all(nodes.Getattr):
        if found.attr.startswith("_"):
            raise UsageError(f'{key}: no attribute "{found.attr}" in a task file', where=where)
    for called in tree.find_all(nodes.Filter):
        if called.name not in _environment().filters:
            raise UsageError(f'{key}: no filter "{called.name}"', where=where, fix=f"ours: {', '.join(FILTERS)}")
    for asked in tree.find_all(nodes.Test):
        if asked.name not in _environment().tests:
            raise UsageError(f'{key}: no test "{asked.name}"', where=where)
    return frozenset(meta.find_undeclared_variables(tree)) - _environment().globals.keys()
