"""A fork of the zygote that waits for the zygote's death and then takes its place within milliseconds.

Starting a zygote anew takes many seconds in which no tenant can wake. The fork shares the zygote's pages, so keeping it
costs next to nothing, and it holds the listening control socket, so connections made meanwhile wait in its queue.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from nagaya_tenant import process

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "nz-standby"
"""Name in the process list; the keeper tells by it that this is neither a tenant nor a zygote."""
ACTIVE_NAME = "nz-zygote"
LEAST_SECONDS = 1.0
"""A standby that dies at once must not be made again without a pause."""


class Standby:
    """The zygote's side: keeps one standby."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._lifeline: int | None = None
        self._made = -LEAST_SECONDS

    def tend(self, let_go: Callable[[], None]) -> bool:
        """Makes the standby if there is none.

        Args:
            let_go: Called in the standby: closes what belongs to the zygote's own work.

        Returns:
            False in the zygote. True in a standby whose zygote has died: it is the zygote from now on.
        """
        now = time.monotonic()
        if self.pid is not None or now - self._made < LEAST_SECONDS:
            return False
        self._made = now
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid:
            os.close(read)
            self.pid, self._lifeline = pid, write
            return False
        os.close(write)
        _wait(read, let_go)
        self.pid = self._lifeline = None
        self._made = -LEAST_SECONDS
        return True

    def gone(self, pid: int) -> bool:
        """Takes note of a child's end; True if it was the standby."""
        if pid != self.pid:
            return False
        if self._lifeline is not None:
            os.close(self._lifeline)
        self.pid = self._lifeline = None
        return True

    def end(self) -> None:
        """Ends the standby, before an orderly end of the zygote."""
        if self.pid is None:
            return
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.gone(pid)


def _wait(lifeline: int, let_go: Callable[[], None]) -> None:
    """Blocks until the other end of the lifeline is closed, which only the zygote's death does."""
    process.prctl(process.PR_SET_NAME, NAME.encode())
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    let_go()
    while os.read(lifeline, 1):
        pass
    os.close(lifeline)
    process.prctl(process.PR_SET_NAME, ACTIVE_NAME.encode())
