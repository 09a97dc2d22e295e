"""Work with keys and database from the command line of root: done by a child that is the api's user."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from nagaya.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

Result = dict[str, str | None]


def as_service(config: PlatformConfig, work: Callable[[], Result]) -> Result:
    """Returns what `work` returns; as root it runs in a child with the user id of the api.

    So no file of root's appears in the api's directories, and root never opens what somebody else may have put there.

    Args:
        config: The platform; its data directory has been prepared.
        work: Returns texts; may raise CliError.

    Raises:
        CliError: What `work` raised, or the child could not become that user.
    """
    if os.geteuid() != 0 or config.service_uid is None:
        return work()
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 1
        try:
            code = _in_child(config, config.service_uid, work, writer)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0 or not answer:
        message = f"Keys and database could not be set up: the process that does it ended with {status}."
        raise CliError(message, error="SetupError")
    told = json.loads(answer)
    if "result" in told:
        result: Result = told["result"]
        return result
    raise CliError(told["message"], ExitCode(told["code"]), error=told["error"])


def _in_child(config: PlatformConfig, user: int, work: Callable[[], Result], writer: int) -> int:
    """Becomes the user for good, works, and writes the outcome."""
    from nagaya.supervisor import view  # noqa: PLC0415  (only commands about this machine need the supervisor)
    from nagaya.supervisor.errors import SetupError  # noqa: PLC0415

    try:
        # What is imported from here on may lie where this user cannot go without the view.
        view.enter(config)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        outcome: dict[str, object] = {"result": work()}
    except CliError as error:
        outcome = {"message": error.message, "code": int(error.code), "error": error.error}
    except SetupError as error:
        outcome = {"message": str(error), "code": int(ExitCode.UNAVAILABLE), "error": "SetupError"}
    except Exception as error:  # Nothing may leave this process by the parent's way.
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome = {"message": f"Keys and database could not be set up: {what}", "code": 1, "error": "SetupError"}
    with os.fdopen(writer, "wb") as stream:
        stream.write(json.dumps(outcome).encode())
    return 0
