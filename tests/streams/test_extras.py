"""Optional packages: one line that says what to install, before any work is done."""

from __future__ import annotations

import sys

import pytest

from seatools.streams.errors import SeaError
from seatools.streams.extras import EXTRAS, require


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_extra_is_answered_by_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SeaError) as caught:
        require(package)
    assert caught.value.report().count("\n") == 1
    assert f'pip install "sea-adapt[{EXTRAS[package]}]"' in caught.value.report()


def test_every_extra_is_declared():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    assert set(EXTRAS.values()) | {"dev", "docs"} == set(declared)
    for package, extra in EXTRAS.items():
        assert any(requirement.startswith(package) for requirement in declared[extra])


def test_a_missing_extra_stops_audit_before_it_reads(sea, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pycld2", None)
    result = sea("audit", tmp_path / "no-such-tokenizer", "--identify")
    assert (result.code, result.stdout) == (1, b"")
    assert "sea-adapt[lid]" in result.stderr


def test_a_missing_extra_stops_lsn_detect_before_it_loads(sea, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "n.safetensors"
    langs = ("--lang", "th=a.txt", "--lang", "en=b.txt")
    result = sea("lsn-detect", tmp_path / "model", *langs, "-o", out, "--plot", tmp_path / "n.png")
    assert (result.code, result.stdout) == (1, b"")
    assert "sea-adapt[plot]" in result.stderr
    assert not out.exists()
