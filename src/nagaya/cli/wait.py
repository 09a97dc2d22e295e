"""Waits for an operation and shows its phases as they happen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nagaya.cli.client import ApiClient
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.output import Output

ENDED = {"succeeded", "failed", "cancelled"}
POLL_SECONDS = 0.2
POLL_SECONDS_LIMIT = 2.0
DEFAULT_TIMEOUT = 300.0


def wait_for_operation(
    api: ApiClient, out: Output, operation_id: str, *, timeout: float = DEFAULT_TIMEOUT
) -> dict[str, Any]:
    """Polls an operation until it has ended; shows each phase with its duration to people.

    Args:
        api: The platform.
        out: Where progress goes.
        operation_id: Id of the operation.
        timeout: Longest wait, seconds.

    Raises:
        CliError: it failed or was cancelled (exit code 1), or it is still running after `timeout` (exit code 6).
    """
    deadline = time.monotonic() + timeout
    pause = POLL_SECONDS
    shown: set[str] = set()
    with progress(out) as update:
        while True:
            operation: dict[str, Any] = api.get(f"/operations/{operation_id}")
            show_phases(out, operation, shown)
            if operation["status"] in ENDED:
                break
            update(current_phase(operation))
            if time.monotonic() > deadline:
                message = (
                    f"The operation still goes on after {timeout:g} s. Watch it: nagaya operation watch {operation_id}"
                )
                raise CliError(message, ExitCode.UNAVAILABLE, error="Timeout")
            time.sleep(pause)
            pause = min(pause * 1.3, POLL_SECONDS_LIMIT)
    if operation["status"] != "succeeded":
        reason = operation.get("error") or "no reason was recorded"
        raise CliError(f"The operation {operation['kind']} {operation['status']}: {reason}", error="OperationFailed")
    return operation


def show_phases(out: Output, operation: dict[str, Any], shown: set[str]) -> None:
    """Prints the phases that have ended since the last call."""
    for phase in operation.get("phases") or []:
        if phase.get("status") in ENDED and phase["name"] not in shown:
            shown.add(phase["name"])
            out.note(f"  {phase_line(phase)}")


def phase_line(phase: dict[str, Any]) -> str:
    """One ended phase: its name, duration, and message if it has one."""
    took = seconds_between(phase.get("started"), phase.get("finished"))
    duration = f" ({took:.1f} s)" if took is not None else ""
    message = f": {phase['message']}" if phase.get("message") else ""
    mark = "✓" if phase.get("status") == "succeeded" else "✗"
    return f"{mark} {phase['name'].replace('_', ' ')}{duration}{message}"


def seconds_between(started: Any, finished: Any) -> float | None:
    """Seconds between two ISO 8601 times, None where one is missing."""
    import datetime as dt  # noqa: PLC0415

    if not started or not finished:
        return None
    begin, end = (dt.datetime.fromisoformat(str(text)) for text in (started, finished))
    return (end - begin).total_seconds()


def current_phase(operation: dict[str, Any]) -> str:
    """What the operation is doing."""
    running = [str(p["name"]) for p in operation.get("phases") or [] if p.get("status") not in ENDED]
    return (running[0] if running else str(operation["status"])).replace("_", " ")


@contextmanager
def progress(out: Output) -> Iterator[Any]:
    """A spinner on a terminal; nothing in pipes and with --json. Yields the function that changes its text."""
    if out.as_json or not out.errors.is_terminal:
        yield lambda _text: None
        return
    with out.errors.status("") as status:
        yield status.update


def operation_of(headers: Any) -> str | None:
    """The operation that an answer started (header `Nagaya-Operation`)."""
    value = headers.get("Nagaya-Operation")
    return str(value) if value else None
