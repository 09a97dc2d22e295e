"""Host names of tenants by a pattern such as `{tenant}--{organization}.zenml.example.com`, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self
from urllib.parse import urlsplit

FIELDS = ("tenant", "organization")
SLUG = r"[a-z](?:-?[a-z0-9]){1,29}"
"""A name of an organization or tenant (`nagaya.http.schemas.SLUG`): it has no dot and no double hyphen."""
LONGEST_SLUG = 30
LONGEST_LABEL = 63
LONGEST_NAME = 253
_FIELD = re.compile(r"\{([^{}]*)\}")
_PLAIN = re.compile(r"[a-z0-9.-]*\Z")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HostPatternError(ValueError):
    """A pattern cannot be used; the message says why, without the setting's name."""


@dataclass(frozen=True)
class HostPattern:
    """One host name per tenant, on the scheme and port of the platform's public URL.

    Args:
        text: The pattern, lower case, each field once.
        public_url: The platform's origin, without a trailing slash.
    """

    text: str
    public_url: str

    @classmethod
    def parse(cls, text: str, public_url: str) -> Self:
        """Check a pattern.

        Raises:
            HostPatternError: A field is missing or repeated, no host names come out of it, two tenants could get the
                same one, or it covers the platform's own host.
        """
        pattern = cls(text.strip().lower(), public_url.rstrip("/"))
        fields = _FIELD.findall(pattern.text)
        for field in FIELDS:
            if fields.count(field) != 1:
                raise HostPatternError(f"the field {{{field}}} must occur exactly once")
        if unknown := [field for field in fields if field not in FIELDS]:
            raise HostPatternError(f"{{{unknown[0]}}} is no field; there are {{tenant}} and {{organization}}")
        before, _, between, _, after = _FIELD.split(pattern.text)
        if not all(_PLAIN.match(part) for part in (before, between, after)):
            raise HostPatternError(
                "it must be a host name of letters, digits, hyphens and dots, without scheme, port and path"
            )
        # Names hold neither dots nor double hyphens, so the first of these after a name is where the name ends.
        if "." not in between and "--" not in between:
            raise HostPatternError(
                "names cannot be told apart in it: put '--' or a dot between the fields, as in "
                "{tenant}--{organization}.zenml.example.com"
            )
        example = pattern.text.replace("{tenant}", "ab").replace("{organization}", "cd")
        if _NAME.match(example) is None or "." not in after.strip("."):
            raise HostPatternError("it must end in a domain, as in {tenant}--{organization}.zenml.example.com")
        if re.search(r"\.[0-9]+\Z", example):
            raise HostPatternError("it must end in a domain, not in a number: addresses have no names below them")
        if pattern.split(urlsplit(public_url).hostname or "") is not None:
            raise HostPatternError("it covers the host of the public URL, which would then be a tenant's")
        return pattern

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts = _FIELD.split(self.text)
        pieces = [f"(?P<{part}>{SLUG})" if index % 2 else re.escape(part) for index, part in enumerate(parts)]
        return re.compile("".join(pieces) + r"\Z")

    @cached_property
    def _port(self) -> str:
        port = urlsplit(self.public_url).port
        return "" if port is None else f":{port}"

    @property
    def scheme(self) -> str:
        """The scheme of all addresses."""
        return urlsplit(self.public_url).scheme

    def host(self, organization: str, tenant: str) -> str | None:
        """The host name of a tenant; None for the few names that cannot be part of one.

        A label has 63 characters at most (RFC 1035 section 2.3.4), and one that begins with `xn--` means an
        internationalized name (RFC 5890 section 2.3.2.1), which clients would try to decode.
        """
        name = self.text.replace("{tenant}", tenant).replace("{organization}", organization)
        labels = name.split(".")
        if len(name) > LONGEST_NAME or any(len(each) > LONGEST_LABEL or each.startswith("xn--") for each in labels):
            return None
        # What is no name of ours (a deleted tenant's is changed) has no host either.
        return name if self.split(name) == (organization, tenant) else None

    def url(self, organization: str, tenant: str) -> str | None:
        """The address of a tenant without a trailing slash; None as in `host`."""
        host = self.host(organization, tenant)
        return None if host is None else f"{self.scheme}://{host}{self._port}"

    def split(self, host: str) -> tuple[str, str] | None:
        """Organization and tenant of a lower-case host name without a port; None if it is no tenant's."""
        found = self._expression.match(host) if len(host) <= LONGEST_NAME else None
        if found is None or any(each.startswith("xn--") for each in host.split(".")):
            return None
        organization, tenant = found["organization"], found["tenant"]
        # The expression alone would let a long name through: a slug has 30 characters at most.
        return (organization, tenant) if max(len(organization), len(tenant)) <= LONGEST_SLUG else None

    def split_authority(self, authority: str) -> tuple[str, str] | None:
        """Organization and tenant of a lower-case Host value, whose port must be that of the public URL."""
        name, colon, port = authority.partition(":")
        if f"{colon}{port}" != self._port and not self._is_default_port(colon + port):
            return None
        return self.split(name)

    def split_url(self, url: str) -> tuple[str, str] | None:
        """Organization and tenant of an address as `url` makes it, in any case and with or without a final slash."""
        prefix = f"{self.scheme}://"
        lowered = url.lower().rstrip("/")
        return self.split_authority(lowered.removeprefix(prefix)) if lowered.startswith(prefix) else None

    def _is_default_port(self, port: str) -> bool:
        default = f":{_DEFAULT_PORTS.get(self.scheme, 0)}"
        return {port, self._port} == {"", default}
