"""Errors of the command line: one sentence for a person, one exit code for a program."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What `nagaya` exits with; documented in docs/reference/cli.md."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.ERROR: "failed: an operation ended in failure, or anything that has no code of its own",
    ExitCode.USAGE: "the command line, a setting or an input value is wrong",
    ExitCode.NOT_FOUND: "what was named does not exist, or you may not know of it",
    ExitCode.FORBIDDEN: "not signed in, or not allowed",
    ExitCode.CONFLICT: "clashes with something that exists or with its state",
    ExitCode.UNAVAILABLE: "the platform does not answer, is overloaded, or a wait took too long",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}


class CliError(Exception):
    """Ends the command.

    Args:
        message: What was wrong and what to do, in a sentence.
        code: Exit code of the process.
        error: Code for programs (`--json`); the API's error code where the API said no.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.ERROR, *, error: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.error = error or "".join(part.capitalize() for part in code.name.split("_"))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A trailing sentence that suggests what a mistyped `name` probably meant; empty when nothing is near."""
    near = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
