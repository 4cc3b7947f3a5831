"""The scores of a real model reach the cleaning, which opens neither torch nor model before it asks for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORY = "Once upon a time, there was a little girl named Lily. She liked to play with her dog in the park. "


def test_a_model_of_stories_keeps_stories(sea: Callable[..., Any], shared: Path) -> None:
    texts = ["zxq vbn qqk wrt plm jjj 0x7f kkz qqq xzx", STORY * 2, STORY]
    given = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    model = shared / "models/stories260K"
    result = sea("clean", "--score-with", model, "--score-quantile", "0.67", "--device", "cpu", stdin=given)
    assert result.code == 0, result.stderr
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == texts[1:]
    assert "score.v1 1" in result.stderr


def test_nothing_heavy_is_imported_before_it_is_called() -> None:
    code = (
        "import sys; from seatools.engine.deferred_scores import deferred_scores; deferred_scores('nowhere', None); "
        "print([name for name in ('torch', 'transformers', 'seatools.engine.document_scores') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
