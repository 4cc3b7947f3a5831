"""`sea replay`: the commands that made a file, as a shell script. It runs none of them."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.flags import Config, Debug, Quiet, Verbose, new_app, run_app

app = new_app()


@app.command()
def replay(
    manifests: Annotated[
        list[str], typer.Argument(metavar="MANIFEST...", help="OUT.manifest.json, or OUT that has one beside it")
    ],
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Print the commands that made a file, those that made its inputs first, each once. Nothing is run.

    \b
    examples:
      sea replay OUT/th.manifest.json
      sea replay OUT/th > again.sh       # to be run in a copy of the folder: nothing is replaced

    Options that came from the environment or a configuration file are typed out, so that the script does not depend on
    them. What came through a pipe is not kept: a comment says which bytes it had, and the command reads stdin again.
    -q leaves the comments out.
    """
    import sys

    from seatools.replay.script import script

    sys.stdout.buffer.write(script(manifests, comments=not quiet))


def main(argv: list[str]) -> int:
    """`sea replay ARGV`."""
    return run_app(app, "replay", argv)
