"""A tenant's listening socket, which the keeper holds open so that a connection to a sleeping tenant wakes it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from nagaya.runtime.local.host import Host


class Doorbell:
    """The socket of one tenant, under a name that no earlier process of it has.

    Args:
        tenant: Id of the tenant.
        host: The host.
        rung: Called once when somebody connects while it is watched.
    """

    def __init__(self, tenant: str, host: Host, rung: Callable[[], None]) -> None:
        self._tenant, self._host, self._rung = tenant, host, rung
        self.generation = 0
        self.socket: socket.socket | None = None

    def bind(self, *, again: bool = False) -> socket.socket:
        """Hold a listening socket.

        `again`: under the same name as an earlier keeper's, which is right only where no process has that socket.
        """
        if self.socket is None:
            if not again or self.generation == 0:
                self._unlink()
                self.generation += 1
            self.socket = self._host.listen(self._tenant, self.generation)
        return self.socket

    def unbind(self) -> None:
        """Close and remove it."""
        self.ignore()
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._unlink()

    def _unlink(self) -> None:
        self._host.socket_path(self._tenant, self.generation).unlink(missing_ok=True)

    def watch(self) -> None:
        """Tell of the next connection."""
        if self.socket is not None:
            asyncio.get_running_loop().add_reader(self.socket.fileno(), self._ring)

    def ignore(self) -> None:
        """Leave connections to the tenant's process."""
        if self.socket is not None:
            asyncio.get_running_loop().remove_reader(self.socket.fileno())

    def _ring(self) -> None:
        self.ignore()
        self._rung()
