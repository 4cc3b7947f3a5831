"""Fixed words of options: read from metavars, the commands' own words, and checked before a command does a thing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest

from seatools.help.definitions import definitions
from seatools.streams.flag_choices import choices_of

TABLE = definitions()
OPTIONS = [(name, option) for name, command in TABLE.items() for option in command.options if option.metavar]
LISTED_ABOVE = "METHOD"  # words that the command's help describes one by one
CLOSED = [each for each in OPTIONS if choices_of(each[1].metavar).closed or each[1].metavar == LISTED_ABOVE]


@pytest.mark.parametrize(
    ("metavar", "words", "taken", "refused"),
    [
        ("cosine|linear", ("cosine", "linear"), ["linear"], {"cos": "cos", "": "", "cosine,linear": "cosine,linear"}),
        ("slurm", ("slurm",), ["slurm"], {"pbs": "pbs"}),
        ("auto|cpu|cuda[:i]", ("auto", "cpu", "cuda"), ["cuda", "cuda:1"], {"cpu:1": "cpu:1", "cuda1": "cuda1"}),
        ("script|fasttext:FILE", ("script", "fasttext"), ["fasttext:a/b.bin"], {"fasttext": "fasttext", "x": "x"}),
        ("sdpa|community/NAME", ("sdpa",), ["community/fast"], {"community/": "community/"}),
        ("q|all[,...]", ("q", "all"), ["q", "q,all", " q, all,"], {"q,v": "v"}),
        ("all|neurons=FILE[+...]", ("all", "neurons"), ["all+x", "anything"], {}),
        ("own|URL", ("own",), ["own", "http://h/v1"], {"h:80": "h:80"}),
        ("auto|N", ("auto",), ["7", "anything"], {}),
        ("URL", (), ["anything"], {}),
        ("FILE", (), ["anything"], {}),
        ("th,lo", (), ["anything"], {}),
        ("0.3|th=0.3,...", (), ["anything"], {}),
        ("[LANG=]GLOB[,...]", (), ["anything"], {}),
        ("256MB", (), ["anything"], {}),
    ],
)
def test_a_metavar_says_what_may_stand_there(
    metavar: str, words: tuple[str, ...], taken: list[str], refused: dict[str, str]
) -> None:
    choices = choices_of(metavar)
    assert choices.words == words
    assert [choices.refused(value) for value in taken] == [None] * len(taken)
    assert {value: choices.refused(value) for value in refused} == refused


def test_only_free_text_has_no_metavar() -> None:
    """Whoever writes the values of an option into its help alone hides them from completions and from the check."""
    free = {(name, option.names[-1]) for name, option in OPTIONS if option.metavar in ("TEXT", "NAME", "KIND")}
    assert free == {("sample", "--stop"), ("sample", "--system"), ("eval", "--system"), ("judge", "--judge-model")}


def test_defaults_are_among_the_words() -> None:
    for name, option in CLOSED:
        allowed = choices_of("|".join(option.choices) if option.metavar == LISTED_ABOVE else option.metavar)
        assert option.default is None or allowed.refused(option.default) is None, (name, option)


def _option(command: str, name: str) -> tuple[str, ...]:
    return next(option.choices for option in TABLE[command].options if name in option.names)


def _known() -> Iterable[tuple[str, str, Iterable[str]]]:
    """Command, option, and the words that its reader knows."""
    from seatools.audit.vocabulary import KINDS
    from seatools.dpo.losses import LOSSES
    from seatools.dpo.presets import PRESETS as DPO_PRESETS
    from seatools.embed_init.existing_tokens import REASONS
    from seatools.embed_init.options import METHODS
    from seatools.engine.device import DTYPES
    from seatools.engine.load import ATTENTIONS
    from seatools.engine.run_checks import TRACKERS
    from seatools.engine.schedule import KINDS as SCHEDULES
    from seatools.eval.task_file import AUTO
    from seatools.lsn_detect.options import QK_KINDS
    from seatools.sample.options import NAMES
    from seatools.text.cleaning.language_tiers import BUILT_IN
    from seatools.text.pretokenizer_presets import PRESETS as PATTERNS
    from seatools.text.text_warnings import NORMALISERS
    from seatools.train.presets import PRESETS
    from seatools.vocab_extend.extension import BALANCES
    from seatools.vocab_extend.extension import METHODS as WAYS

    yield from (
        ("audit", "--list", KINDS),
        ("audit", "--pattern", PATTERNS),
        ("embed-init", "--reinit-reasons", REASONS),
    )
    yield from (("embed-init", option, ("auto", *METHODS)) for option in ("--method", "--head-method"))
    yield from ((command, "--schedule", SCHEDULES) for command in ("train", "dpo"))
    yield from ((command, "--attention", ATTENTIONS) for command in ("train", "dpo"))
    yield from ((command, "--track", TRACKERS) for command in ("train", "dpo"))
    yield from ((command, "--dtype", ("auto", *DTYPES)) for command in ("train", "dpo", "sample", "judge", "eval"))
    yield from (("train", "--preset", PRESETS), ("dpo", "--preset", DPO_PRESETS), ("dpo", "--loss", LOSSES))
    yield from (
        ("eval", "--format", ("auto", *AUTO)),
        ("sample", "--engine", NAMES),
        ("eval", "--engine", NAMES),
        ("lsn-detect", "--qk", QK_KINDS),
    )
    yield from (("clean", "--lang-id", BUILT_IN), ("mix", "--lang-id", BUILT_IN), ("judge", "--lang-check", BUILT_IN))
    yield from (("vocab-extend", "--normalize", NORMALISERS), ("clean", "--normalize", NORMALISERS))
    yield from (("vocab-extend", "--method", WAYS), ("vocab-extend", "--balance", BALANCES))


def test_the_words_are_those_that_the_command_knows() -> None:
    pytest.importorskip("torch")
    for command, option, known in _known():
        assert set(_option(command, option)) == set(known), (command, option)


@pytest.mark.parametrize("name", sorted({name for name, _ in CLOSED}))
def test_a_wrong_word_is_answered_with_the_list(sea: Callable, name: str) -> None:
    """--print-config: so that nothing else need be given, and nothing is begun."""
    for _, option in (each for each in CLOSED if each[0] == name):
        done = sea(*name.split(), option.names[-1], "no-such-word", "--print-config")
        assert (done.code, done.stdout) == (2, b""), option
        assert f"unknown {option.names[-1]} 'no-such-word'" in done.stderr, option
        assert all(word in done.stderr for word in option.choices) and done.stderr.count("\n") == 2, option


@pytest.mark.parametrize(
    "words", ["train M D --attention x", "sample M D --engine x", "dpo M D --loss x", "eval M T --engine x"]
)
def test_nothing_heavy_is_loaded_to_say_so(words: str) -> None:
    script = (
        "import sys; from seatools.cli import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'torch', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    argv = [sys.executable, "-c", script, *words.split(), "-o", "OUT"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n" and "error: unknown --" in done.stderr
