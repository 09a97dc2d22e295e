"""TLS at the gateway's own door: the certificate with its renewals, and bounded handshakes in front of connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path

from nagaya.gateway.access_log import Log
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.limits import ConnectionLimits
from nagaya.gateway.proxies import Proxies
from nagaya.gateway.settings import GatewaySettings
from nagaya.tls import CertificateError, load_pair

# With TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2); those of TLS 1.3 are all so.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_SHUTDOWN_SECONDS = 2.0
_ACCEPT_PAUSE = 0.1

Stamp = tuple[tuple[int, int, int], ...]


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A context for TLS 1.2 and 1.3 with a PEM chain and key (None: the key is in the same file).

    Raises:
        CertificateError: They cannot be read, do not belong together, or are not valid today.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, certificate, key)
    return context


class Certificate:
    """The certificate that is served; new connections get a renewed one, those that are open keep theirs."""

    def __init__(self, certificate: Path, key: Path | None, log: Log) -> None:
        self._certificate, self._key, self._log = certificate, key, log
        self._stamp = self._look()
        self.context = server_context(certificate, key)

    def _look(self) -> Stamp:
        """What changes when a file is replaced or written."""
        stamps = []
        for path in (self._certificate, self._key):
            if path is None:
                continue
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def refresh(self, *, force: bool = False) -> bool:
        """Take over changed files; one that cannot be used is told in the log, and the earlier one stays."""
        stamp = self._look()
        if stamp == self._stamp and not force:
            return False
        self._stamp = stamp
        try:
            self.context = server_context(self._certificate, self._key)
        except CertificateError as error:
            self._log.write("certificate", state="refused", reason=str(error))
            return False
        self._log.write("certificate", state="loaded")
        return True


class TlsDoor:
    """Accepts connections, lets so many shake hands at a time, and hands those that speak TLS on."""

    def __init__(
        self,
        settings: GatewaySettings,
        certificate: Certificate,
        proxies: Proxies,
        client: Callable[[], ClientConnection],
    ) -> None:
        self.certificate = certificate
        self._settings, self._proxies, self._client = settings, proxies, client
        self._limits = ConnectionLimits(settings.max_handshakes, settings.max_handshakes_per_address)
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listening: socket.socket) -> None:
        """Accept connections of a listening socket."""
        listening.setblocking(False)
        self._start(self._accept(listening))

    async def close(self) -> None:
        """Accept nothing more, and break handshakes off."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listening)
                except OSError:
                    # No descriptors left, or the client is gone already: those that wait stay in the kernel's queue.
                    await asyncio.sleep(_ACCEPT_PAUSE)
                    continue
                address = str(peer[0])
                counted = "" if self._proxies.trusts(address) else address
                if self._limits.admit(counted):
                    self._start(self._shake(connection, counted))
                else:
                    connection.close()

    async def _shake(self, connection: socket.socket, counted: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._client,
                connection,
                ssl=self.certificate.context,
                ssl_handshake_timeout=self._settings.handshake_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError:
            # Not TLS, an old version of it, a certificate that the client does not trust, or too slow.
            connection.close()
        except BaseException:
            connection.close()
            raise
        finally:
            self._limits.release(counted)
