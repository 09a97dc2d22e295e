"""The settings of a Nagaya host: read from `NAGAYA_*` variables, checked, and handed on to the processes."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nagaya.gateway.proxies import parse_networks
from nagaya.hosts import HostPattern, HostPatternError

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

PREFIX = "NAGAYA_"
CLIENT_VARIABLES = {
    "NAGAYA_URL": "Public URL of the platform that the command line talks to.",
    "NAGAYA_API_KEY": "API key (`ZENPROKEY_…`) that the command line signs in with, instead of `nagaya login`.",
    "NAGAYA_BACKUP_PASSPHRASE": "Passphrase of the keys in a backup (`nagaya backup`).",
    "NAGAYA_DEBUG": "Show the traceback of an error, as `--debug` does.",
}
"""Variables of the command line; they are no settings of the platform, and they are not refused either."""
INTERNAL_VARIABLES = {"NAGAYA_SOCKETS", "NAGAYA_VIEW", "NAGAYA_READY", "NAGAYA_LOCK"}
"""Set by the supervisor for the processes that it starts."""


_GATEWAY_FIELDS = (
    "tenant_hosts",
    "hsts_seconds",
    "trusted_proxies",
    "forwarded_family",
    "address_rate",
    "address_burst",
)
"""Settings that go to the gateway under their own names."""


class SettingsError(Exception):
    """The environment holds settings that cannot be used; the text has one sentence for each."""


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https address such as https://zenml.example.com")
    if parts.path not in {"", "/"}:
        raise ValueError("must not have a path: the platform needs an origin of its own")
    return f"{parts.scheme}://{parts.netloc}"


PublicUrl = Annotated[str, AfterValidator(_public_url)]
Seconds = Annotated[int, Field(gt=0, le=10 * 365 * 86400)]


def default_data_dir() -> Path:
    """Where data lives when nothing is said: `/var/lib/nagaya` for root, else below the user's XDG data directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/nagaya")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "nagaya"


class Place(BaseSettings):
    """Data and engines"""

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Directory of everything that the platform keeps. "
        "Default: `/var/lib/nagaya` for root, else `$XDG_DATA_HOME/nagaya` or `~/.local/share/nagaya`.",
    )
    engines_dir: Path | None = Field(
        None, description="Directory with the installed ZenML versions. Default: `engines` in the data directory."
    )
    default_engine: str = Field("0.98.0", description="ZenML version of new tenants.", pattern=r"^\d+\.\d+\.\d+$")
    database_url: SecretStr | None = Field(
        None,
        description="Control database: `postgresql://user:password@host/name` (version 14 or newer). "
        "Default: SQLite, `control/control.db` in the data directory.",
    )
    master_key_file: Path | None = Field(
        None,
        description="File with the master key (32 bytes, base64). Default: `keys/master.key` in the data directory.",
    )


class Address(BaseSettings):
    """Address"""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8440, ge=1, le=65535, description="TCP port to listen on.")
    public_url: PublicUrl | None = Field(
        None,
        description="The one address that browsers and clients use, as they see it (scheme, host, port; no path). "
        "Stock clients compare it literally. Default: `http://<host>:<port>`.",
    )


class Network(BaseSettings):
    """Hosts, TLS and proxies"""

    tenant_hosts: str | None = Field(
        None,
        description="A host name per tenant by pattern, such as `{tenant}--{organization}.zenml.example.com`, on the "
        "scheme and port of the public URL; needs DNS and a certificate for `*.zenml.example.com`. "
        "Default: tenants by path, `<public URL>/t/<organization>/<tenant>`.",
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with the server's certificate and the intermediate ones after it. With it the platform "
        "speaks TLS on its port; changed files are taken over within seconds.",
    )
    tls_key: Path | None = Field(
        None, description="PEM file with the certificate's private key, without a passphrase; root alone may read it."
    )
    http_redirect_port: int | None = Field(
        None, ge=1, le=65535, description="Further port, of plain HTTP, that only redirects readers to the public URL."
    )
    hsts_seconds: int = Field(
        31_536_000,
        ge=0,
        le=10 * 365 * 86400,
        description="For how long browsers shall insist on TLS once they have used it (`Strict-Transport-Security`), "
        "seconds; sent if the public URL is https. 0: not sent.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses and CIDR ranges of reverse proxies, separated by commas. Only their forwarding headers "
        "are believed; everybody else's are overwritten.",
    )
    forwarded_family: Literal["x-forwarded", "forwarded"] = Field(
        "x-forwarded",
        description="Which headers the trusted proxies set: `x-forwarded` (`X-Forwarded-For`, `-Proto`, `-Host`) or "
        "`forwarded` (RFC 7239). The other ones are ignored, since proxies pass them on as clients wrote them.",
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        texts = tuple(text.strip() for text in value.split(",") if text.strip())
        parse_networks(texts)
        return texts


class RateLimits(BaseSettings):
    """Rate limits"""

    address_rate: float = Field(
        300, ge=0, description="Requests a second from one address (IPv6: /64) in the long run; 0 is no limit."
    )
    address_burst: int = Field(6000, ge=1, description="Requests at once from one address.")
    principal_rate: float = Field(
        100,
        ge=0,
        description="Requests a second of one principal at the API, and with one credential at tenants; 0 is no limit.",
    )
    principal_burst: int = Field(2000, ge=1, description="Requests at once of one principal.")


class Administrator(BaseSettings):
    """First administrator"""

    admin_email: str | None = Field(
        None, description="E-mail address of the first administrator.", pattern=r"^[^@\s]+@[^@\s]+$", max_length=254
    )
    admin_password: SecretStr | None = Field(
        None,
        min_length=12,
        description="Password of the first administrator; with it the first start needs no browser. "
        "Used once, then ignored.",
    )


class Isolation(BaseSettings):
    """Isolation"""

    separate_users: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether services and tenants run as users of their own: `yes` (needs root), `no`, "
        "or `auto`: yes when started as root.",
    )
    service_uid: int = Field(
        199990, ge=1, le=2**31, description="User id of the api as root; the gateway has the next number."
    )
    tenant_uids: Annotated[tuple[int, int], NoDecode] = Field(
        (200000, 299999), description="Range of user ids for tenants as root, `first-last`. An id is never used twice."
    )

    @field_validator("tenant_uids", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", value.strip())
        if not match or int(match[1]) >= int(match[2]) or int(match[1]) < 1:
            raise ValueError("must be a range of user ids such as 200000-299999")
        return int(match[1]), int(match[2])


class Tenants(BaseSettings):
    """Tenants"""

    idle_seconds: Seconds = Field(900, description="Seconds without a request after which a tenant sleeps.")
    policy_max_age: Seconds = Field(
        86400, description="Seconds for which a tenant serves with its last policy while it cannot reach the platform."
    )
    max_in_flight: int = Field(64, ge=1, le=10_000, description="Requests that one tenant works on at the same time.")
    max_body_bytes: int = Field(104_857_600, ge=1024, description="Largest request body, bytes.")
    wake_timeout: Seconds = Field(60, description="Seconds that a waking tenant has until its first answer.")


class Sessions(BaseSettings):
    """Sessions"""

    session_seconds: Seconds = Field(43200, description="Life of a browser session or password login, seconds.")
    device_seconds: Seconds = Field(86400, description="Life of a token of `zenml login`, seconds.")
    device_interval: Seconds = Field(
        5, description="Seconds between two questions of a client that waits for the approval of its sign-in."
    )
    key_days_limit: int = Field(365, ge=1, description="Longest life of an API key, days.")


class Organizations(BaseSettings):
    """Organizations"""

    anyone_may_create_organizations: bool = Field(
        False, description="Whether every user may create an organization; otherwise only superusers."
    )


class Enrollment(BaseSettings):
    """Servers that run elsewhere"""

    enrollment: Literal["organizations", "superusers"] = Field(
        "organizations",
        description="Who may enroll a ZenML server that runs elsewhere: whoever may create tenants in an organization "
        "(`organizations`), or `superusers` only. Such a server sees the tokens of those who sign in to it.",
    )
    liveness_seconds: Seconds = Field(60, description="Seconds between two looks at an enrolled server.")


class Logging(BaseSettings):
    """Logging"""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of logged lines.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")
    log_bytes: int = Field(
        10_485_760,
        ge=0,
        description="Size at which a log is copied to `<name>.1` and emptied, bytes; 0: never, because something else "
        "rotates (by copying and truncating).",
    )
    log_files: int = Field(1, ge=0, le=1000, description="How many old files of each log are kept.")
    access_log: bool = Field(True, description="Whether the gateway logs every request (at level `info` or lower).")


class Monitoring(BaseSettings):
    """Monitoring"""

    metrics_address: Annotated[tuple[str, int] | None, NoDecode] = Field(
        None,
        description="Where `/metrics` is served for Prometheus, such as `127.0.0.1:8441`. Default: nowhere.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that scrapes must show; needed unless the address is of this machine only.",
    )
    metrics_tenants: bool = Field(
        False, description="Whether requests are also counted for each tenant by name: one more label."
    )
    otel_endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector (OTLP over HTTP) for traces, such as `http://127.0.0.1:4318`; needs the "
        "extra `nagaya[otel]`. The standard `OTEL_*` variables hold as well.",
    )

    @field_validator("metrics_address", mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        host, _, port = value.strip().rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError("must be a host and a port such as 127.0.0.1:8441")
        return host.removeprefix("[").removesuffix("]"), int(port)


GROUPS: tuple[type[BaseSettings], ...] = (
    Place,
    Address,
    Network,
    RateLimits,
    Administrator,
    Isolation,
    Tenants,
    Sessions,
    Organizations,
    Enrollment,
    Logging,
    Monitoring,
)
"""The sections of the reference page, in order; each group's docstring is its heading."""

API_FIELDS = {
    "log_level",
    "log_format",
    "tenant_hosts",
    "principal_rate",
    "principal_burst",
    *Sessions.model_fields,
    *Organizations.model_fields,
    *Enrollment.model_fields,
}
"""Fields that only the api reads."""


class Settings(
    Place,
    Address,
    Network,
    RateLimits,
    Administrator,
    Isolation,
    Tenants,
    Sessions,
    Organizations,
    Enrollment,
    Logging,
    Monitoring,
):
    """All settings; `Settings.read` is the way to make one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", env_ignore_empty=True, frozen=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        first, last = self.tenant_uids
        if first <= self.service_uid + 1 and self.service_uid <= last:
            raise ValueError(f"{PREFIX}SERVICE_UID and the id after it must lie outside {PREFIX}TENANT_UIDS")
        self._consistent_network()
        if self.separate_users == "yes" and os.geteuid() != 0:
            raise ValueError(f"{PREFIX}SEPARATE_USERS=yes needs root; start as root, or say auto or no")
        local = {"127.0.0.1", "::1", "localhost"}
        if self.metrics_address and self.metrics_address[0] not in local and self.metrics_token is None:
            raise ValueError(
                f"{PREFIX}METRICS_ADDRESS can be reached from other machines: set {PREFIX}METRICS_TOKEN as well, or "
                "listen on 127.0.0.1"
            )
        return self

    def _consistent_network(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY belong together; set both")
        if self.tls_certificate is not None and self.public_url and not self.public_url.startswith("https://"):
            raise ValueError(f"{PREFIX}PUBLIC_URL must begin with https:// when {PREFIX}TLS_CERTIFICATE is set")
        if self.http_redirect_port is not None and not self.address.startswith("https://"):
            raise ValueError(f"{PREFIX}HTTP_REDIRECT_PORT needs a public URL with https to redirect to")
        if self.http_redirect_port == self.port:
            raise ValueError(f"{PREFIX}HTTP_REDIRECT_PORT must differ from {PREFIX}PORT")
        if self.tenant_hosts is not None:
            try:
                HostPattern.parse(self.tenant_hosts, self.address)
            except HostPatternError as error:
                raise ValueError(f"{PREFIX}TENANT_HOSTS cannot be used: {error}") from error

    @classmethod
    def read(cls, **overrides: Any) -> Self:
        """Reads the environment; `overrides` (from the command line; None: not given) win over it.

        Raises:
            SettingsError: an unknown `NAGAYA_*` variable, or a value that is not acceptable. Values never appear in the
                text, because they may be secrets.
        """
        refuse_unknown(os.environ)
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise SettingsError("\n".join(_sentences(error))) from error

    @property
    def address(self) -> str:
        """The public URL, with its default filled in."""
        scheme = "http" if self.tls_certificate is None else "https"
        return self.public_url or f"{scheme}://{self.host}:{self.port}"

    @property
    def users_are_separate(self) -> bool:
        """Whether services and tenants get users of their own here."""
        return self.separate_users == "yes" or (self.separate_users == "auto" and os.geteuid() == 0)

    def platform_config(self, *, detach: bool = False) -> PlatformConfig:
        """Builds what supervisor, keeper, api and gateway share (`run/config.json`).

        Raises:
            SettingsError: the combination is not usable, for instance a data directory whose path is too long.
        """
        from nagaya.runtime.config import ConfigError, PlatformConfig  # noqa: PLC0415

        data_dir = self.data_dir.expanduser()
        values: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "public_url": self.address,
            "tls_certificate": _absolute(self.tls_certificate),
            "tls_key": _absolute(self.tls_key),
            "redirect_port": self.http_redirect_port,
            "detach": detach,
            "database_url": self.database_url.get_secret_value() if self.database_url else None,
            "master_key_file": self.master_key_file,
            "default_engine": self.default_engine,
            "ready_timeout": float(self.wake_timeout),
            "metrics_address": self.metrics_address,
            "log_bytes": self.log_bytes,
            "log_files": self.log_files,
            "log_format": self.log_format,
            "log_level": self.log_level,
            "service_uid": self.service_uid if self.users_are_separate else None,
            "tenant_uids": self.tenant_uids if self.users_are_separate else None,
        }
        values["api"] = {
            **self.model_dump(include=API_FIELDS),
            "tenants": self.model_dump(include={"idle_seconds", "policy_max_age", "max_in_flight", "max_body_bytes"}),
        }
        values["gateway"] = {
            "wake_seconds": float(self.wake_timeout),
            "access_log": self.access_log and self.log_level in {"debug", "info"},
            "log_format": self.log_format,
            "metrics_tenants": self.metrics_tenants,
            # The file that this goes to is readable by others: of a long random token its digest tells nothing.
            "metrics_token_sha256": hashlib.sha256(self.metrics_token.get_secret_value().encode()).hexdigest()
            if self.metrics_token
            else None,
            "credential_rate": self.principal_rate,
            "credential_burst": self.principal_burst,
            **self.model_dump(include=set(_GATEWAY_FIELDS)),
        }
        if self.engines_dir:
            values["engines_dir"] = Path(os.path.abspath(self.engines_dir.expanduser()))  # noqa: PTH100  (keeps links)
        try:
            return PlatformConfig.create(data_dir, **values)
        except ConfigError as error:
            raise SettingsError(str(error)) from error


def _absolute(path: Path | None) -> Path | None:
    """The path from the root, links kept: tools for renewal exchange them."""
    return None if path is None else Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return f"{PREFIX}{field.upper()}"


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuses `NAGAYA_*` variables that mean nothing, because a mistyped setting is a setting that does not hold.

    Raises:
        SettingsError: names the variable and what was probably meant.
    """
    known = {variable(name) for name in Settings.model_fields} | set(CLIENT_VARIABLES) | INTERNAL_VARIABLES
    sentences = []
    for name in sorted(n for n in environment if n.upper().startswith(PREFIX) and n not in known):
        near = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.7)
        hint = f" Did you mean {' or '.join(near)}?" if near else " docs/reference/settings.md lists all settings."
        sentences.append(f"{name} is not a setting of Nagaya.{hint}")
    if sentences:
        raise SettingsError("\n".join(sentences))


def _sentences(error: ValidationError) -> list[str]:
    """One sentence for each problem, with the variable's name and without its value."""
    sentences = []
    for problem in error.errors(include_input=False, include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            sentences.append(f"{message}.")
            continue
        sentences.append(f"{variable(str(problem['loc'][0]))} cannot be used: {message[:1].lower()}{message[1:]}.")
    return sentences
