"""TLS at the gateway's own door: the certificate with its renewals, and bounded handshakes in front of connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from nagaya.gateway.access_log import Log
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.limits import ConnectionLimits
from nagaya.gateway.proxies import Proxies
from nagaya.gateway.settings import GatewaySettings
from nagaya.tls import CertificateError, load_pair

# With TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2); those of TLS 1.3 are all so.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_SHUTDOWN_SECONDS = 2.0

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
    """Admits connections to handshakes, so many at a time, and hands those that speak TLS on."""

    def __init__(
        self,
        settings: GatewaySettings,
        certificate: Certificate,
        proxies: Proxies,
        client: Callable[[], ClientConnection],
    ) -> None:
        self.settings, self.certificate, self.proxies, self.client = settings, certificate, proxies, client
        self.limits = ConnectionLimits(settings.max_handshakes, settings.max_handshakes_per_address)
        self.tasks: set[asyncio.Task[None]] = set()

    def knock(self) -> Knock:
        """The protocol of a new connection."""
        return Knock(self)

    async def close(self) -> None:
        """Break handshakes off."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Knock(asyncio.Protocol):
    """A connection that has not spoken TLS yet."""

    def __init__(self, door: TlsDoor) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, or hang up if too many are going on."""
        transport = cast("asyncio.Transport", transport)  # uvloop's transports have its methods but not its type.
        door = self._door
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else "unix"
        counted = "" if door.proxies.trusts(address) else address
        if not door.limits.admit(counted):
            transport.abort()
            return
        # What comes before TLS is set up is for TLS.
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._shake(transport, counted))
        door.tasks.add(task)
        task.add_done_callback(door.tasks.discard)

    async def _shake(self, transport: asyncio.Transport, counted: str) -> None:
        door, early = self._door, _Early()
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport,
                early,
                door.certificate.context,
                server_side=True,
                ssl_handshake_timeout=door.settings.handshake_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError:
            # Not TLS, an old version of it, a certificate that the client does not trust, or too slow.
            transport.abort()
            return
        except BaseException:
            transport.abort()
            raise
        finally:
            door.limits.release(counted)
        if secure is not None:
            early.hand_over(secure, door.client())


class _Early(asyncio.Protocol):
    """Keeps what arrives in the moment between the end of the handshake and the beginning of HTTP."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._lost: tuple[Exception | None] | None = None

    def data_received(self, data: bytes) -> None:
        self._data.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = (exc,)

    def hand_over(self, transport: asyncio.Transport, client: ClientConnection) -> None:
        """Let `client` continue as if it had been there from the beginning."""
        transport.set_protocol(client)
        client.connection_made(transport)
        for data in self._data:
            client.data_received(data)
        if self._lost is not None:
            client.connection_lost(self._lost[0])
