"""Who really sent a request: the peer, or whom proxies that the operator trusts name in forwarding headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from nagaya.gateway.request import Request
from nagaya.gateway.settings import Family

Network = IPv4Network | IPv6Network

MAX_HOPS = 32
_MAX_KNOWN = 4096
_PORT = re.compile(r"(?:(?P<four>[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?\Z")
# RFC 7239 section 4: pairs of a token and a value, which may be quoted; a comma in quotes does not separate hops.
_HOP = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(?:;|\Z)')


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks of addresses or CIDR ranges; raises `ValueError` with a sentence for anything else."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip()))
        except ValueError:
            raise ValueError(f"{text.strip()!r} is no address and no range such as 10.0.0.0/8 or fd00::/8") from None
    return tuple(networks)


class Proxies:
    """The trusted proxies, and what they say about clients.

    Only one family of headers is believed: a proxy that sets one of them passes the other on as the client wrote it.
    """

    def __init__(self, trusted: Sequence[str], family: Family = "x-forwarded") -> None:
        self._networks = parse_networks(trusted)
        self._family = family
        self._known: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        """Whether a peer's address is a trusted proxy's."""
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            parsed = _parse(address)
            known = parsed is not None and any(parsed in network for network in self._networks)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[address] = known
        return known

    def read(self, request: Request, peer: str) -> None:
        """Set address, scheme and host of a request that came from the trusted proxy `peer`."""
        if self._family == "forwarded":
            addresses, scheme, host = self._forwarded(request)
        else:
            addresses = _last(request, b"x-forwarded-for")
            scheme = (_last(request, b"x-forwarded-proto") or [""])[-1]
            host = (_last(request, b"x-forwarded-host") or [""])[-1]
        request.address = self._client(addresses, peer)
        if scheme.lower() in {"http", "https"}:
            request.scheme = scheme.lower().encode()
        if host:
            request.host = host.encode("latin-1")

    def _client(self, addresses: list[str], peer: str) -> str:
        """The right-most hop that is no trusted proxy; what lies left of it is what the client itself claims."""
        client = peer
        for text in reversed(addresses[-MAX_HOPS:]):
            found = _address(text)
            if found is None:
                break
            client = found
            if not self.trusts(found):
                break
        return client

    def _forwarded(self, request: Request) -> tuple[list[str], str, str]:
        """Addresses of all hops, and scheme and host as the nearest proxy saw them (RFC 7239)."""
        hops = [_pairs(hop) for hop in _HOP.findall((request.get(b"forwarded") or b"").decode("latin-1"))]
        last = hops[-1] if hops else {}
        return [hop.get("for", "") for hop in hops], last.get("proto", ""), last.get("host", "")


def _last(request: Request, name: bytes) -> list[str]:
    """The elements of a header that is a list."""
    value = request.get(name)
    return [] if value is None else [part.strip() for part in value.decode("latin-1").split(",")]


def _pairs(hop: str) -> dict[str, str]:
    pairs = {}
    for name, quoted, plain in _PAIR.findall(hop):
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return pairs


def _address(text: str) -> str | None:
    """The address in one hop, whose port does not matter; None for `unknown`, made-up names and nonsense."""
    found = _parse(text)
    if found is None and (match := _PORT.match(text)) is not None:
        found = _parse(match["four"] or match["six"])
    return None if found is None else str(found)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows callers by IPv4 as ::ffff:192.0.2.1.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
