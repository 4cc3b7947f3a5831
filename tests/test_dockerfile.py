"""The Dockerfile, read: it is built where there is a daemon; here what can be wrong without one is looked at."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
STEPS = [step for step in re.sub(r"\\\n", " ", TEXT).splitlines() if step and not step.startswith("#")]


def test_the_base_is_one_release_of_a_supported_python() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(3\.1[123])\.\d+-slim-\w+$", TEXT, re.MULTILINE)
    classifiers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers
    assert [step for step in STEPS if step.startswith("FROM")] == [
        "FROM python:${PYTHON} AS build",
        "FROM python:${PYTHON}",
    ]


def test_it_runs_as_a_user_in_a_volume() -> None:
    last = STEPS[max(number for number, step in enumerate(STEPS) if step.startswith("FROM")) :]
    assert "USER sea" in last and last.index("USER sea") > max(
        n for n, step in enumerate(last) if step.startswith("RUN")
    )
    (volumes,) = [json.loads(step.removeprefix("VOLUME ")) for step in last if step.startswith("VOLUME")]
    assert "/data" in volumes and "WORKDIR /data" in last and 'ENTRYPOINT ["sea"]' in last


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    sent = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word for step in STEPS if step.startswith("COPY ") and "--from" not in step for word in step.split()[1:-1]
    }
    assert copied == sent and all((REPOSITORY / name).exists() for name in copied)


def test_the_extras_are_some_of_ours() -> None:
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", TEXT, re.MULTILINE)
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(declared)
