"""What a process of its own takes, and what it found: how benchmarks run ours and a peer's in turn.

The benchmark itself stays small (no torch in it; what needs it is done `alone`): ru_maxrss of a child never falls below
what its parent held when it forked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PEER_PYTHON = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")


def settle(files: Iterable[Path]) -> None:
    """Nothing waits to be written any more, and `files` are in memory."""
    os.sync()
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.read(8 << 20):
                pass


def timed(command: Sequence[object], stdout: Any = subprocess.DEVNULL, **more: Any) -> dict[str, float]:
    """Run it, with `more` of Popen: seconds, CPU seconds, peak MB. SystemExit, with its last words, if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=stdout, stderr=subprocess.PIPE, **more)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words = " ".join(map(str, command))[:300]
        raise SystemExit(f"{words} failed ({process.returncode}):\n{said[-3000:].decode(errors='replace')}")
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1e3}


def worker(script: str, python: str | Path, task: dict[str, Any], **environment: str) -> dict[str, Any]:
    """What `task["worker"]` of `script` made of `task` (`do_task`), with its peak of memory in MB if it does not tell
    it itself. `task["threads"]`, where it is there, are all that it gets."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    if threads := task.get("threads"):
        variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [python, script, "--worker", json.dumps(task | {"result": str(result)})]
        peak = timed(command, env=variables | environment)["peak_mb"]
        return {"peak_mb": peak} | json.loads(result.read_text())


def do_task(text: str, workers: Mapping[str, Callable[[dict[str, Any]], Any]]) -> None:
    """The other side of `worker`: the value of --worker, done."""
    task = json.loads(text)
    Path(task["result"]).write_text(json.dumps(workers[task["worker"]](task)))


def alone(module: str, function: str, *values: object) -> Any:
    """What a function of a benchmark returns, called in a process of its own."""
    spelled = ", ".join(f"Path({str(value)!r})" if isinstance(value, Path) else repr(value) for value in values)
    code = f"import json; from pathlib import Path; import {module} as m; print(json.dumps(m.{function}({spelled})))"
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module}.{function} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
