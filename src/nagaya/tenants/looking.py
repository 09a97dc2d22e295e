"""Asks an enrolled server whether it is alive, and what it says it is, without trusting it with anything.

Its address comes from outside (see `nagaya.tenants.addresses`): the name is resolved here, every address of it is
checked, and the connection goes to the address that was checked. Redirects are not followed, answers are bounded, no
credential is sent, and nothing of an answer is passed on but what is compared here.
"""

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from nagaya.tenants.addresses import AddressRefused, check_address, port_of

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 10.0
MOST_BYTES: Final = 65_536
MOST_SKEW: Final = dt.timedelta(minutes=5)
"""Difference of clocks that is worth a word: nothing here depends on the server's clock, but its own logs do."""

Resolver = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an enrolled server has said of itself.

    Args:
        tenant_id: Which tenant's server it is.
        url: Its address.
        version: Its ZenML version.
    """

    tenant_id: uuid.UUID
    url: str
    version: str


@dataclass(frozen=True, slots=True)
class Look:
    """What was found.

    Args:
        alive: Whether it answered that it is well.
        reason: What is wrong, if anything is; a sentence without anything that the server sent but its version.
    """

    alive: bool
    reason: str = ""


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def resolve(host: str, port: int) -> list[str]:
    """Returns the IP addresses of a name, the preferred one first.

    Raises:
        OSError: It has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


async def look(expected: Expected, now: dt.datetime, *, loopback: bool, resolver: Resolver = resolve) -> Look:
    """Looks at a server once. Never raises for anything that the server, its name or the network does.

    Args:
        expected: The server.
        now: Current time, to compare its clock with.
        loopback: Whether it may be on this machine.
        resolver: Resolves names.
    """
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _look(expected, now, loopback, resolver)
    except AddressRefused:
        # Not to which address: that would tell names of networks that only the platform sees.
        return Look(False, "Its name leads to an address that no enrolled server may have.")
    except (httpx.HTTPError, OSError, ValueError) as error:
        return Look(False, _failure(error))


def _failure(error: Exception) -> str:
    """Returns what went wrong in words that tell nothing of what answered."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "It did not answer in time."
    if isinstance(error, socket.gaierror):
        return "Its name cannot be resolved."
    if isinstance(error, ValueError | httpx.ProtocolError):
        return "It answered something that is not HTTP."
    if "certificate" in str(error).lower() or "ssl" in str(error).lower():
        return "Its TLS certificate cannot be verified."
    return "It cannot be reached from here."


async def _look(expected: Expected, now: dt.datetime, loopback: bool, resolver: Resolver) -> Look:
    parts = urlsplit(expected.url)
    host = parts.hostname or ""
    addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in await resolver(host, port_of(parts))]
    for address in addresses:
        check_address(address, loopback=loopback)
    timeout = httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
    # The environment's proxies are not asked: they would resolve the name again, and might reach what is refused here.
    client = httpx.AsyncClient(timeout=timeout, verify=_tls(), follow_redirects=False, trust_env=False)
    async with _Links() as links, client:
        health, date = await _get(client, links, parts, str(addresses[0]), "/health")
        if health is None:
            return Look(False, "It is there, but does not answer as a ZenML server that is well.")
        info, _ = await _get(client, links, parts, str(addresses[0]), "/api/v1/info")
    return Look(True, _said(expected, info) or _clock(date, now))


class _Links:
    """The TCP connections of a look, all closed when it ends.

    httpcore 1.0 closes one whose TLS handshake fails, but forgets one whose handshake is cancelled: it would stay open
    until the garbage collector finds it. So httpx's `trace` extension tells of each that is made.
    """

    def __init__(self) -> None:
        self._made: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._made:
            await each.aclose()

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Takes an event of httpcore."""
        if event == "connection.connect_tcp.complete":
            self._made.append(info["return_value"])


async def _get(
    client: httpx.AsyncClient, links: _Links, parts: SplitResult, address: str, path: str
) -> tuple[bytes | None, str | None]:
    """Returns the body of a 200, else None, and the server's time."""
    target = f"[{address}]" if ":" in address else address
    url = f"{parts.scheme}://{target}:{port_of(parts)}{parts.path}{path}"
    request = client.build_request(
        "GET",
        url,
        headers={"Host": parts.netloc, "Accept": "application/json", "User-Agent": "nagaya"},
        extensions={"sni_hostname": parts.hostname or "", "trace": links.trace},
    )
    answer = await client.send(request, stream=True)
    try:
        if answer.status_code != 200:
            return None, None
        body = b""
        async for block in answer.aiter_raw():
            body += block
            if len(body) > MOST_BYTES:
                return None, None
        return body, answer.headers.get("date")
    finally:
        await answer.aclose()


def _said(expected: Expected, info: bytes | None) -> str:
    """Returns how what the server says in public differs from what it reported."""
    try:
        said: Any = json.loads(info or b"{}")
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return ""
    server, version = said.get("id"), said.get("version")
    if isinstance(server, str) and server.lower() != str(expected.tenant_id):
        return "Another ZenML server answers at this address: check ZENML_SERVER_SERVER_URL."
    if isinstance(version, str) and version != expected.version:
        return f"It reported ZenML {expected.version}, but another version answers at its address."
    return ""


def _clock(date: str | None, now: dt.datetime) -> str:
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return ""
    if there.tzinfo is None or abs(there - now) <= MOST_SKEW:
        return ""
    minutes = round(abs(there - now).total_seconds() / 60)
    return f"Its clock is {minutes} minutes {'ahead' if there > now else 'behind'}; signing in works all the same."
