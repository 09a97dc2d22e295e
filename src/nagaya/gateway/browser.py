"""Which Host names are served and whose they are, how clients reached us, and where a browser's request comes from."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from nagaya.gateway.answers import GatewayError, bad_request
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.forward import Origin
from nagaya.gateway.request import SAFE_METHODS, Request
from nagaya.gateway.settings import GatewaySettings
from nagaya.hosts import HostPattern

_HOST = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_KNOWN = 4096

Owner = tuple[bytes, bytes]
"""Organization and tenant."""


class Hosts:
    """Knows the public address and the other Host values that are served."""

    def __init__(self, settings: GatewaySettings) -> None:
        parts = urlsplit(settings.public_url)
        self._scheme = parts.scheme
        self.public_url = settings.public_url.rstrip("/")
        pattern = settings.tenant_hosts
        self._pattern = HostPattern.parse(pattern, self.public_url) if pattern else None
        self._owners: dict[bytes, Owner | None] = {}
        self._allow_localhost = settings.allow_localhost
        self.origin = f"{parts.scheme}://{parts.netloc}".lower().encode()
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._port = b"" if parts.port is None else b":%d" % parts.port
        names = {parts.netloc.lower()}
        if port == _DEFAULT_PORTS[parts.scheme]:
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
            names |= {host, f"{host}:{port}"}
        self._public = frozenset(name.encode() for name in names)
        self._allowed = self._public | {host.lower().encode() for host in settings.allowed_hosts}
        self.cookie_name = b"__Host-nagaya" if parts.scheme == "https" else b"nagaya"

    def is_public(self, host: bytes) -> bool:
        """Whether a lower-case Host value is that of the public address."""
        return host in self._public

    def is_allowed(self, host: bytes) -> bool:
        """Whether a lower-case Host value is served."""
        return host in self._allowed or (self._allow_localhost and _is_local(host))

    def owner(self, host: bytes, *, any_port: bool = False) -> Owner | None:
        """Whose host this lower-case Host value is; None if it is no tenant's."""
        if self._pattern is None:
            return None
        if any_port:
            host = re.sub(rb":[0-9]+\Z", b"", host) + self._port
        if host in self._owners:
            return self._owners[host]
        found = self._pattern.split_authority(host.decode("ascii"))
        owner = None if found is None else (found[0].encode(), found[1].encode())
        if len(self._owners) >= _MAX_KNOWN:
            self._owners.clear()
        self._owners[host] = owner
        return owner

    def origin_of(self, organization: bytes, tenant: bytes) -> str:
        """The origin of a tenant's own host; the platform's if it has none."""
        by_host = self._pattern.url(organization.decode(), tenant.decode()) if self._pattern is not None else None
        return by_host or self.public_url

    def must_be_secure(self, request: Request) -> bool:
        """Whether a request that should have come over TLS is known not to have."""
        return self._scheme == "https" and request.scheme == b"http"

    def check(self, request: Request) -> bytes:
        """The lower-case Host value; raises `GatewayError` (400) if it is not one at all."""
        host = (request.host or request.get(b"host") or b"").lower()
        if host in self._allowed:
            return host
        if not host and request.version == "1.0":
            return urlsplit(self.origin).netloc
        if _HOST.match(host) is None:
            raise bad_request("The Host header is not a host name with an optional port.")
        return host

    def forwarded(self, client: ClientConnection, request: Request, host: bytes) -> bytes:
        """The forwarding headers for a request with this Host value on this connection."""
        key = (host, request.address, request.scheme)
        known, lines = client.forwarded
        if known != key or not lines:
            ours = self.is_public(host) or self.owner(host) is not None
            scheme = self._scheme if ours else (request.scheme or b"http").decode()
            explicit = host.rpartition(b":")[2] if re.search(rb":[0-9]+\Z", host) else b""
            port = explicit or str(_DEFAULT_PORTS[scheme]).encode()
            lines = Origin(request.address, scheme.encode(), host, port).lines()
            client.forwarded = (key, lines)
        return lines

    def check_site(self, request: Request, host: bytes) -> None:
        """Refuse what another site made the browser send with our cookie; raises `GatewayError` (403).

        Navigations from elsewhere are links and harmless. Writes need a header that no form can send, or the browser's
        word that the page is ours.
        """
        safe = request.method in SAFE_METHODS
        site = (request.get(b"sec-fetch-site") or b"").lower()
        origin = request.get(b"origin")
        if origin is not None and not self._is_own_origin(origin.lower(), host):
            raise _forbidden("The Origin header names another site.")
        if site in {b"cross-site", b"same-site"} and not (safe and request.get(b"sec-fetch-mode") == b"navigate"):
            raise _forbidden("The request comes from another site.")
        if not safe and site != b"same-origin" and request.get(b"x-nagaya-csrf") != b"1":
            raise _forbidden("A write with a session cookie needs the header 'X-Nagaya-CSRF: 1'.")

    def _is_own_origin(self, origin: bytes, host: bytes) -> bool:
        return origin == self.origin or (self.is_allowed(host) and origin in {b"http://" + host, b"https://" + host})


def _is_local(host: bytes) -> bool:
    name = host[: host.index(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    if name == b"localhost" or name.endswith(b".localhost"):
        return True
    try:
        return ip_address(name.decode("ascii").strip("[]")).is_loopback
    except ValueError:
        return False


def _forbidden(sentence: str) -> GatewayError:
    return GatewayError(403, "IllegalOperationError", sentence)
