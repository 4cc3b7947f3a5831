"""Jinja's sandbox with an end: what one rendering may compute and write is bounded.

A template comes with a model that somebody published. The sandbox keeps it away from the interpreter, but not from a
loop in a loop, from 'a' * 10**10 or from a macro that calls itself twice. Here every turn of a loop, every call and
every 256 characters that an operation makes cost a unit of `FUEL`, and no text or list may grow beyond `LONGEST`, so
that the end depends on the template alone and not on the machine. Nothing is computed when a template is compiled.
Measured: 10^7 units are 4 seconds; ChatML takes 1.3 times as long as without limits (10 us).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import jinja2  # noqa: TID253  (whoever imports this module does so inside a function)
import jinja2.sandbox  # noqa: TID253
from jinja2 import nodes  # noqa: TID253

FUEL, LONGEST, WIDEST = 10_000_000, 16 << 20, 1 << 16
"""Units of work of a rendering; characters, or items of a list; the number that a filter may be told to fill up to."""
_MAX_BITS = 1 << 16
_SHORT = 256  # what costs nothing beside the turn of the loop that it is in
_CALL = 32  # a call takes 10 us, a turn of a loop 0.4
_WIDE_FORMAT = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(?:[0-9]*\.)?[0-9]{6,}|\{[^{}]*:[^{}]*[0-9]{6,}[^{}]*\}")
_FILLS = frozenset((
    "center", "ljust", "rjust", "zfill", "expandtabs", "indent", "wordwrap", "batch", "slice", "tojson", "round",
    "truncate", "generate_lorem_ipsum", "to_bytes", "fromkeys",
))  # fmt: skip
_DEEP = frozenset(
    ("join", "tojson", "string", "pprint", "xmlattr", "urlencode", "sum", "format", "safe", "escape", "e")
)
"""What reads all that a list holds, and not its items alone."""
_FORMATS = frozenset(("format", "format_map"))
_LEFT: ContextVar[list[int]] = ContextVar("fuel")


class TooMuch(jinja2.TemplateRuntimeError):
    """A rendering that was stopped."""


def spend(units: int) -> None:
    """Take from what is left of this rendering's fuel."""
    left = _LEFT.get(None)
    if left is not None:
        left[0] -= units
        if left[0] < 0:
            raise TooMuch("it computes without end: a loop in a loop, or a macro that calls itself")


def within_limits(run: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`run(...)`, a rendering or an expression, with a full tank. Raises TooMuch where that is not enough."""
    token = _LEFT.set([FUEL])
    try:
        return _held(run(*arguments, **named))
    finally:
        _LEFT.reset(token)


def weight(value: Any) -> int:
    """Characters and items of a value with all that is in it, a shared part as often as it stands there. TooMuch where
    they are more than LONGEST."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, dict):
            total += len(item)
            stack += [*item, *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            total += len(item)
            stack += item
        if total > LONGEST or len(stack) > LONGEST:
            raise TooMuch(f"it makes a text or a list of more than {LONGEST:,}")
    return total


def _held(value: Any) -> Any:
    """`value` if it is not too long; what it took to make is paid for."""
    if isinstance(value, str | list | tuple | dict | bytes):
        if len(value) > LONGEST:
            raise TooMuch(f"it makes a text or a list of more than {LONGEST:,}")
        spend(len(value) >> 8)
    return value


def _size(name: str, value: Any) -> int:
    """What reading `value` costs, in characters and items."""
    if name in _DEEP:
        return weight(value)
    return len(value) if isinstance(value, str | bytes | list | tuple | dict) else 0


def _check_call(name: str, value: Any, arguments: Iterable[Any]) -> None:
    """Refuse what would be too large before it is made. `value`: what the filter or method works on."""
    arguments = list(arguments)
    size, others = _size(name, value), [_size(name, argument) for argument in arguments]
    spend(1 + (size >> 8) + (sum(others) >> 8))
    widest = max((abs(given) for given in arguments if isinstance(given, int)), default=0)
    if name == "generate_lorem_ipsum" and widest > 100:
        raise TooMuch("it asks for a long nonsense text")
    if widest > WIDEST and (name in _FILLS or (name in _FORMATS and isinstance(value, str) and "*" in value)):
        raise TooMuch(f"it asks {name} for more than {WIDEST:,}")
    if name in _FORMATS and isinstance(value, str) and (
        _WIDE_FORMAT.search(value) or (widest > WIDEST and re.search(r"\{[^{}]*:[^{}]*\{", value))
    ):  # fmt: skip
        raise TooMuch("it asks for a text of a great width")
    count = len(value) if isinstance(value, str | list | tuple | dict) else size
    grown = 0
    if name in ("replace", "translate") and others:
        grown = (count + 1) * max(others)
    elif name in ("join", "sum"):
        grown = size + count * (size if name == "sum" and arguments else max(others, default=0))
    elif name in ("indent", "expandtabs", "xmlattr", "urlize", "wordwrap", "tojson"):
        grown = size + size * max([8, min(widest, WIDEST), *others])
    if grown > 4 * LONGEST and not _is_harmless(name, value, arguments):
        raise TooMuch(f"{name} may make a text of {grown:,} characters")


def _is_harmless(name: str, value: Any, arguments: list[Any]) -> bool:
    """Whether the exact length of what comes out is within bounds where the bound alone is not."""
    if name == "replace" and isinstance(value, str) and len(arguments) >= 2 and isinstance(arguments[0], str):
        return len(value) + value.count(arguments[0]) * len(str(arguments[1])) <= LONGEST
    if name == "indent" and isinstance(value, str):
        width = next((int(a) if isinstance(a, int) else len(a) for a in arguments if isinstance(a, int | str)), 4)
        return len(value) + (value.count("\n") + 1) * width <= LONGEST
    return False


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is checked before and after. Some take the environment or a context first; these weigh nothing."""

    @functools.wraps(function)
    def within(*arguments: Any, **named: Any) -> Any:
        if len(arguments) == 1 and not named and type(arguments[0]) is str and len(arguments[0]) < _SHORT:
            return function(arguments[0])
        own = 1 if hasattr(function, "jinja_pass_arg") else 0
        value = arguments[own] if len(arguments) > own else None
        if name in _DEEP and isinstance(value, Iterator):
            value = list(_counted(value))
            arguments = (*arguments[:own], value, *arguments[own + 1 :])
        _check_call(name, value, [*arguments[own + 1 :], *named.values()])
        found = function(*arguments, **named)
        return _held(found) if not isinstance(found, Iterator) else _counted(found)

    return within


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    left = _LEFT.get(None) or [FUEL]
    for value in values:
        left[0] -= 1
        if left[0] < 0:
            spend(1)
        yield value


@jinja2.pass_context
def _loop(context: jinja2.runtime.Context, values: Any) -> Any:
    """What a loop runs over; one without turns is as it was (an undefined name has rules of its own)."""
    return _counted(values) if not isinstance(values, jinja2.Undefined) else values


@jinja2.pass_context
def _written(context: jinja2.runtime.Context, value: Any) -> Any:
    """What an expression writes."""
    if type(value) is str:
        if len(value) >= _SHORT:
            spend(len(value) >> 3)
    elif not isinstance(value, jinja2.Undefined):
        spend(1 + (weight(value) >> 3))
    return value


@jinja2.pass_context
def _weighed(context: jinja2.runtime.Context, value: Any) -> Any:
    """What is compared, or cut out of something longer."""
    if isinstance(value, str | list | tuple) and len(value) >= _SHORT:
        spend(len(value) >> 8)
    return value


def _through(name: str, value: Any) -> nodes.Filter:
    """The expression `value | name`."""
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


class BoundedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox with fuel. A filter that is added later goes through `guarded` first."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, optimized=False)
        self.filters = {name: guarded(name, function) for name, function in self.filters.items()}
        self.filters |= {"_loop": _loop, "_written": _written, "_weighed": _weighed}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _through("_loop", loop.iter)
        for output in tree.find_all(nodes.Output):
            output.nodes = [
                n if isinstance(n, nodes.TemplateData | nodes.Const) else _through("_written", n) for n in output.nodes
            ]
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [_through("_written", part) for part in joined.nodes]
        for compared in tree.find_all(nodes.Compare):
            compared.expr = _through("_weighed", compared.expr)
        for part in tree.find_all(nodes.Getitem):
            if isinstance(part.arg, nodes.Slice):
                part.node = _through("_weighed", part.node)
        return tree

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, if it is small."""
        if operator == "+" and type(left) is str and type(right) is str and len(left) + len(right) < _SHORT:
            return left + right
        spend(1)
        numbers = [side for side in (left, right) if isinstance(side, int)]
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > _MAX_BITS:
                raise TooMuch("it computes a number of great length")
        elif operator == "*" and len(numbers) == 2:
            if left.bit_length() + right.bit_length() > _MAX_BITS:
                raise TooMuch("it computes a number of great length")
        elif operator == "*" and numbers:
            other = right if left is numbers[0] else left
            if hasattr(other, "__len__") and len(other) * max(numbers[0], 0) > LONGEST:
                raise TooMuch(f"it makes a text or a list of more than {LONGEST:,}")
        elif operator == "%" and isinstance(left, str):
            _check_call("format", left, right if isinstance(right, tuple) else (right,))
        return _held(super().call_binop(context, operator, left, right))

    def call(  # named as in the class above: a template's own arguments may have any name
        __self,
        __context: jinja2.runtime.Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """A call of a template: a macro, a method of a value, a global."""
        spend(_CALL)
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps str.format
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if isinstance(owner, str | bytes | int | dict | list) or name in _FILLS:
            values = args[0] if name == "join" and args else owner
            _check_call(name, values, [owner, *args[1:]] if name == "join" else [*args, *kwargs.values()])
        return _held(super().call(__context, __obj, *args, **kwargs))
