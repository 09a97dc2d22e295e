"""Which addresses an enrolled server may have: what it says is checked before anybody is sent, or connects, there.

The address comes from whoever holds an enrollment key, and the platform itself looks at it regularly. So it must not
lead to what only the platform's own host can reach: services on the loopback interface, or the metadata of a cloud
machine. Private networks are allowed, because that is where enrolled servers are.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from nagaya.hosts import HostPattern

MOST = 300
"""Characters of an address."""
VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:[A-Za-z.+_-][A-Za-z0-9.+_-]{0,16})?")
LEAST_VERSION: Final = (0, 75, 1)
"""The oldest release whose calls are answered (wire contract, section 11)."""
METADATA: Final = frozenset(
    ipaddress.ip_address(each)
    for each in (
        "169.254.169.254",  # Amazon, Google, Microsoft, Oracle and others
        "fd00:ec2::254",  # Amazon over IPv6
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Microsoft's host agent
        "192.0.0.192",  # Oracle, older
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """An address cannot be used; the message is a sentence that says why and what to do."""


def version_of(text: str) -> str:
    """Returns the ZenML version that a server reports.

    Raises:
        AddressRefused: It has not the form of a version, or is older than the platform can serve.
    """
    match = VERSION.fullmatch(text)
    if match is None:
        raise AddressRefused("The server does not say which ZenML version it is (header zenml-server-version).")
    if tuple(map(int, match.groups()[:3])) < LEAST_VERSION:
        raise AddressRefused(f"The server is ZenML {text}: enrolled servers must be 0.75.1 or newer. Upgrade it.")
    return text


def server_url_of(text: str, public_url: str, hosts: HostPattern | None = None) -> str:
    """Returns the address that a server reports, without a trailing slash.

    Args:
        text: What it reports.
        public_url: Origin of the platform.
        hosts: How the host names of hosted tenants are made, if each has one of its own.

    Raises:
        AddressRefused: It is not an address that clients could use, or one that no server of a tenant has.
    """
    parts = _split(text)
    host = (parts.hostname or "").rstrip(".")
    own = urlsplit(public_url)
    if (parts.scheme, host, port_of(parts)) == (own.scheme, own.hostname, port_of(own)):
        raise AddressRefused(
            f"{_shown(text)} is the platform's own address: set ZENML_SERVER_SERVER_URL to the server's."
        )
    if hosts is not None and hosts.split(host) is not None:
        raise AddressRefused(
            f"{_shown(text)} is an address of the platform's own tenants: set ZENML_SERVER_SERVER_URL to the server's."
        )
    try:
        check_address(ipaddress.ip_address(host), loopback=is_loopback(public_url))
    except ValueError:
        if is_local_name(host) and not is_loopback(public_url):
            raise AddressRefused(
                f"{_shown(text)} means another machine for everybody else: use a name that clients can reach."
            ) from None
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _split(text: str) -> SplitResult:
    if len(text) > MOST or not _PRINTABLE.fullmatch(text):
        raise AddressRefused(
            "The server's address (ZENML_SERVER_SERVER_URL) is too long or has characters that no address has."
        )
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise AddressRefused(
            f"{_shown(text)} cannot be the server's address: ZENML_SERVER_SERVER_URL must be like https://zenml.example.com."
        )
    return parts


def port_of(parts: SplitResult) -> int:
    """Returns the port of an address, by its scheme if it names none."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_local_name(host: str) -> bool:
    """Whether a name always means the machine that asks (RFC 6761)."""
    return host == "localhost" or host.endswith(".localhost")


def is_loopback(public_url: str) -> bool:
    """Whether the platform itself can be reached from its own machine only, as in a first try on a laptop."""
    host = urlsplit(public_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return is_local_name(host)


def check_address(address: Address, *, loopback: bool) -> None:
    """Refuses addresses that no enrolled server can have.

    Args:
        address: An IP address, as given or as its name resolves.
        loopback: Whether the loopback interface is allowed.

    Raises:
        AddressRefused: It is of this machine, of this link, of a cloud's metadata service, or of nobody.
    """
    plain = _embedded(address)
    if plain.is_loopback and loopback:
        return
    special = plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified
    if special or plain.is_reserved or plain in METADATA:
        raise AddressRefused(f"{address} is an address that no enrolled server may have.")


def _embedded(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _shown(text: str) -> str:
    if "@" in text:
        return "What the server reports"  # It may hold a password.
    return text if len(text) <= 100 else f"{text[:100]}…"
