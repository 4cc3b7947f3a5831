"""Runs command lines of sea in forked children of one process that has imported everything once.

`python fork_server.py` reads a JSON object a line: {"argv": [...], "stdin": FILE or null, "stdout": FILE, "stderr":
FILE, "cwd": FOLDER}; answers {"pid": N} at once and {"code": N} at the end (negative: a signal). A torch command costs
0.1 s so instead of 5 s, which is what makes fifty kills affordable; the children are processes as any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys


def main() -> None:
    """Serve until stdin ends."""
    import torch

    torch.set_num_threads(1)
    import importlib

    from seatools.cli import COMMANDS
    from seatools.cli import main as sea

    for module, _ in COMMANDS.values():
        importlib.import_module(module)
    for module in (
        "transformers",
        "transformers.models.llama.modeling_llama",
        "seatools.engine.load",
        "seatools.train.run",
        "seatools.eval.run",
        "seatools.lsn_detect.run",
        "seatools.mix.run",
    ):
        importlib.import_module(module)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if "import" in job:  # what children imported on the way: the next ones find it
            for name in job["import"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_child(job, sea))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


def _child(job: dict, sea) -> int:
    os.setsid()
    os.chdir(job["cwd"])
    for number, (path, flags) in enumerate(
        [
            (job["stdin"] or os.devnull, os.O_RDONLY),
            (job["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (job["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ]
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    sys.argv = ["sea", *job["argv"]]
    from seatools import cli

    code = 0
    try:
        cli.run()
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stderr.flush()
    if job.get("modules"):
        with open(job["modules"], "w", encoding="utf-8") as stream:
            stream.write("\n".join(sys.modules) + "\n")
    return code


if __name__ == "__main__":
    main()
