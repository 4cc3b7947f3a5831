"""Hugging Face chat templates, rendered without transformers.

A template is a Jinja program that comes with a tokenizer and turns messages into one string. It runs in the same
sandbox, with the same filters and globals, as transformers 5.23 (`utils/chat_template_utils.py`) gives it, so that a
model sees at training time exactly what it will see when it is served; the tests compare the two. What a rendering may
compute is bounded besides (template_limits.py). A template with
`strftime_now` renders today's date, as it does there. Rendering costs about 20 us a message; a template is compiled
once a process. `ChatTemplate` holds only strings, so it travels to worker processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json

if TYPE_CHECKING:
    import jinja2

# What transformers passes as variables when the tokenizer defines them (PreTrainedTokenizerBase.special_tokens_map).
TOKEN_VARIABLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Names under which a message carries its reasoning; transformers fills the first from the others.
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
# A path to one of these is a tokenizer, whose template lies beside it.
TOKENIZER_SUFFIXES = (".json", ".model", ".tiktoken")


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template and the special tokens that it may write."""

    source: str
    """The Jinja text."""
    path: str
    """The file that it came from, for messages."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """`bos_token`, `eos_token`, ... as the tokenizer spells them; absent ones render as nothing, as in transformers."""

    def __post_init__(self) -> None:
        import jinja2

        try:
            _compile(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise SeaError(
                f"the chat template is not valid Jinja: {error.message}",
                where=f"{self.path}: line {error.lineno} of the template",
                fix="mend the template, or give another with --chat-template FILE",
            ) from None
        except Exception as error:  # RecursionError, ValueError for a number of 5,000 digits, SyntaxError, ...
            raise SeaError(
                f"the chat template cannot be compiled: {str(error)[:200] or type(error).__name__}",
                where=self.path,
                fix="mend the template, or give another with --chat-template FILE",
            ) from None

    def with_defaults(self, variables: Mapping[str, str]) -> ChatTemplate:
        """The same template with `variables` for those that its tokenizer configuration does not name."""
        return replace(self, variables={**variables, **self.variables})

    def render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False) -> str:
        """One string for the whole conversation; with the header of an assistant turn at the end if asked.

        Equals transformers' `apply_chat_template(messages, tokenize=False)`: keys whose value is null are dropped.
        Raises SeaError, naming the template's file, when the template refuses the conversation or fails on it.
        """
        from seatools.text.template_limits import within_limits

        try:
            return within_limits(
                _compile(self.source).render,
                messages=[_plain_message(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.variables,
            )
        # A template is the user's program: whatever it raises (TemplateError, TypeError, KeyError, ...) is its answer.
        except Exception as error:
            raise SeaError(
                f"the chat template does not accept this conversation: {error or type(error).__name__}",
                where=self.path,
                fix="change the messages, or give another template with --chat-template FILE",
            ) from error


def load_chat_template(path: str | Path, *, tokenizer_path: str | Path | None = None) -> ChatTemplate | None:
    """The chat template of a folder (or of the folder of a tokenizer file), or the one in a Jinja file; None if a
    folder has none.

    In a folder `chat_template.jinja` comes first, then `chat_template` of `tokenizer_config.json` (a string, or a list
    of {name, template} of which "default" is taken). The special tokens come from `tokenizer_path` (a folder or a file
    in it; default: the folder of the template itself).
    Raises SeaError when the path is not there, the JSON is broken, no template is named "default", or the Jinja is.
    """
    path = Path(path)
    if not path.exists():
        raise SeaError("no such file or folder", where=str(path), fix="give a folder or a Jinja file")
    template_file = None
    if path.is_file() and path.suffix not in TOKENIZER_SUFFIXES:
        template_file = path
    folder = path if path.is_dir() else path.parent
    if template_file is None and (folder / "chat_template.jinja").is_file():
        template_file = folder / "chat_template.jinja"

    tokens_folder = folder
    if tokenizer_path is not None:
        tokens_folder = Path(tokenizer_path)
        tokens_folder = tokens_folder if tokens_folder.is_dir() else tokens_folder.parent
    variables = _token_variables(tokens_folder)

    if template_file is not None:
        try:
            return ChatTemplate(template_file.read_text(encoding="utf-8"), str(template_file), variables)
        except UnicodeDecodeError:
            raise SeaError("not a Jinja template: it is not UTF-8 text", where=str(template_file)) from None
    config_path = folder / "tokenizer_config.json"
    source = _read_json(config_path).get("chat_template")
    if isinstance(source, list):
        named = {str(entry.get("name")): entry.get("template") for entry in source if isinstance(entry, dict)}
        if "default" not in named:
            raise SeaError(
                f"several chat templates and none is named default: {', '.join(sorted(named))}",
                where=str(config_path),
                fix="save the one you want to a file and give it with --chat-template FILE",
            )
        source = named["default"]
    if source is None:
        return None
    if not isinstance(source, str):
        raise SeaError("`chat_template` is neither a string nor a list of templates", where=str(config_path))
    return ChatTemplate(source, str(config_path), variables)


def _token_variables(folder: Path) -> dict[str, str]:
    """The special tokens of a tokenizer folder; `tokenizer_config.json` wins over `special_tokens_map.json`."""
    variables = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        config = _read_json(folder / name)
        for variable in TOKEN_VARIABLES:
            token = config.get(variable)
            if isinstance(token, dict):  # a serialised AddedToken
                token = token.get("content")
            if isinstance(token, str):
                variables[variable] = token
    return variables


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        config = parse_json(path.read_bytes())
    except ValueError as error:
        raise SeaError(f"not valid JSON: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise SeaError("not a JSON object", where=str(path))
    return config


def _plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message as transformers hands it to a template: no nulls, reasoning under all its names."""
    plain = {key: value for key, value in message.items() if value is not None}
    reasoning = next((plain[key] for key in REASONING_KEYS if key in plain), None)
    if reasoning is not None:
        plain = {"thinking": reasoning, **plain, "reasoning_content": reasoning}
    return plain


@lru_cache(maxsize=16)
def _compile(source: str) -> jinja2.Template:
    """Compile in the environment of transformers' `_cached_compile_jinja_template`."""
    import jinja2.ext
    import jinja2.utils

    from seatools.text.template_limits import BoundedEnvironment, guarded

    class GenerationTag(jinja2.ext.Extension):
        """Accepts `{% generation %}...{% endgeneration %}` and renders its body."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            # Through a call, so that the body has a scope of its own, as it has in transformers.
            return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller: Any) -> str:
            return caller()

    class Dictionary:
        """`dict(...)` and `dict.fromkeys(...)` without the attributes of the real type."""

        def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            return dict(*args, **kwargs)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    class Namespace(jinja2.utils.Namespace):
        """`namespace(...)` without underscored attributes, through which a template could reach the interpreter."""

        def __init__(*args: Any, **kwargs: Any) -> None:  # no named self, so that `namespace(self=...)` works
            attributes = dict(*args[1:], **kwargs)
            for name in attributes:
                Namespace.check(name)
            jinja2.utils.Namespace.__init__(args[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            Namespace.check(name)
            super().__setitem__(name, value)

        @staticmethod
        def check(name: object) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"a namespace cannot hold the underscored attribute {name!r}")

    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = guarded("tojson", _to_json)
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=Dictionary(), namespace=Namespace
    )
    return environment.from_string(source)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which a language model never asked for."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(form)
