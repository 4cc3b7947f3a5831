"""`python -m seatools` is `sea`."""

from seatools.cli import run

run()
