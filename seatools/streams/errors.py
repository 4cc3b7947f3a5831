"""The errors that a user sees: what happened, where, how to mend it; three lines at most.

Every failure that the user can cause is a `SeaError`; the front door prints it without a traceback
(unless `--debug`) and exits with its code. Any other exception is a defect of ours.
"""

from __future__ import annotations


class SeaError(Exception):
    """A failure to report: `what` happened, `where` (file:line), how to `fix` it. Exit code 1."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f" ({self.fix})" if self.fix else "")

    def report(self) -> str:
        """The text for stderr: at most three lines."""
        place = f"{self.where}: " if self.where else ""
        lines = ["error: " + " ".join(f"{place}{self.what}".splitlines())]
        if self.fix:
            lines.append("  fix: " + " ".join(self.fix.splitlines()))
        return "\n".join(lines)


class UsageError(SeaError):
    """The command line or a configuration value is wrong. Exit code 2."""

    exit_code = 2


class CheckFailed(SeaError):
    """A check that the user asked for did not pass. Exit code 3."""

    exit_code = 3


class Preempted(SeaError):
    """A signal stopped a run that has saved all it needs to continue. Exit code 75 (sysexits' "try again")."""

    exit_code = 75
