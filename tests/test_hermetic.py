"""The suite gives the same verdict whatever its developer has set for sea."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ONE = "tests/clean/test_clean_command.py::test_rejects_and_manifest"


def test_a_developers_settings_reach_no_test(tmp_path: Path) -> None:
    """Each of these files would fail it, and each variable what it names."""
    (tmp_path / "sea.toml").write_text("[no-such-command]\n")
    own = tmp_path / "home" / ".config" / "sea" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[no-such-command]\n")
    kept = {name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"}
    settings = {"HOME": str(tmp_path / "home"), "SEA_DEVICE": "tpu", "RANK": "1"}
    words = ["-q", "-p", "no:cacheprovider", "-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(REPOSITORY / ONE)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=kept | settings,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
