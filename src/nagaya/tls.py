"""Certificates: loading a pair of files, and saying in a sentence what is wrong with them."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nagaya.hosts import HostPattern

SOON = dt.timedelta(days=14)


class CertificateError(Exception):
    """A certificate or key cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Leaf:
    """What a server's own certificate says. Times are UTC."""

    names: frozenset[str]
    not_before: dt.datetime
    not_after: dt.datetime

    def covers(self, host: str) -> bool:
        """Whether a client that asks for `host` accepts it: by name or a wildcard for one label (RFC 9525)."""
        _, _, parent = host.partition(".")
        return host in self.names or f"*.{parent}" in self.names


def read_leaf(path: Path) -> Leaf:
    """Read the first certificate of a PEM chain.

    Raises:
        CertificateError: There is none, or it cannot be read.
    """
    from cryptography import x509  # noqa: PLC0415 - ten megabytes that only a process with a certificate should pay

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}.") from error
    except x509.ExtensionNotFound as error:
        raise CertificateError(
            f"The certificate in {path} names no host (subjectAltName); clients ignore its common name."
        ) from error
    except ValueError as error:
        raise CertificateError(
            f"{path} holds no PEM certificate; it must begin with the server's own, and the intermediate ones follow."
        ) from error
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return Leaf(
        frozenset(name.lower() for name in names) | frozenset(str(address) for address in addresses),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None, now: dt.datetime | None = None) -> Leaf:
    """Load a PEM chain and its key (None: in the same file) into a context.

    Raises:
        CertificateError: They cannot be read, do not belong together, the key is encrypted, or the certificate is not
            valid at `now` (default: at present).
    """
    leaf = read_leaf(certificate)
    moment = now or dt.datetime.now(dt.UTC)
    if moment >= leaf.not_after:
        raise CertificateError(f"The certificate in {certificate} expired at {leaf.not_after:%Y-%m-%d %H:%M} UTC.")
    if moment < leaf.not_before:
        raise CertificateError(
            f"The certificate in {certificate} is not valid before {leaf.not_before:%Y-%m-%d %H:%M} UTC; "
            "is this machine's clock right?"
        )
    source = key or certificate

    def refuse() -> str:
        raise CertificateError(f"The key in {source} is encrypted; give one without a passphrase, readable by few.")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"The key in {source} does not belong to the certificate in {certificate}."
        else:
            message = f"{source} holds no PEM key that can be used, or {certificate} is damaged ({error.reason})."
        raise CertificateError(message) from error
    except OSError as error:
        raise CertificateError(f"{source} cannot be read: {error.strerror}.") from error
    return leaf


def shortcomings(certificate: Path, key: Path, hosts: list[str], now: dt.datetime | None = None) -> Iterator[str]:
    """What is not good about a pair that can be used: names that it does not cover, and that it expires soon.

    Raises:
        CertificateError: It cannot be used; see `load_pair`.
    """
    moment = now or dt.datetime.now(dt.UTC)
    leaf = load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key, moment)
    for host in hosts:
        if not leaf.covers(host):
            yield f"The certificate in {certificate} does not cover {host}: clients will refuse it there."
    if leaf.not_after - moment < SOON:
        yield f"The certificate in {certificate} expires at {leaf.not_after:%Y-%m-%d %H:%M} UTC."


def wanted_hosts(public_url: str, tenant_hosts: str | None) -> list[str]:
    """The host names that a certificate must cover: the platform's, and an example of a tenant's."""
    hosts = [urlsplit(public_url).hostname or ""]
    if tenant_hosts:
        example = HostPattern.parse(tenant_hosts, public_url).host("organization", "tenant")
        hosts += [] if example is None else [example]
    return hosts


def own_context(certificate: Path) -> ssl.SSLContext:
    """A client's context that trusts exactly the certificate in a file, whatever name the server is called by.

    For calls on this machine, to an address that the certificate need not name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context
