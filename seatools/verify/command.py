"""`sea verify`: whether files are still what their manifests say, along the chain of what they were made from."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.flags import Config, Debug, Json, Quiet, Verbose, new_app, prints_jsonl, run_app
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def verify(
    manifests: Annotated[
        list[str], typer.Argument(metavar="MANIFEST...", help="OUT.manifest.json, or OUT that has one beside it")
    ],
    json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Recompute the hashes of what a manifest names, of its inputs' manifests, and so on to the beginning.

    \b
    examples:
      sea verify OUT/th.manifest.json
      sea verify OUT/th --json | jq 'select(.state != "ok")'

    A file is ok, changed, missing, or unknown: nothing that was recorded can be compared (stdin, a name on the hub).
    Exit code 3 if one is changed or missing, or if a file was made from itself. Nothing is written.
    """
    from seatools.verify.run import run

    run(manifests, Messages(quiet, verbose), json=prints_jsonl(json))


def main(argv: list[str]) -> int:
    """`sea verify ARGV`."""
    return run_app(app, "verify", argv)
