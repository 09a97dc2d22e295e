"""Settings of the gateway: addresses of its neighbours, limits and time-outs, read from `run/config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

Family = Literal["x-forwarded", "forwarded"]
"""Which headers of trusted proxies are believed: `X-Forwarded-*` or `Forwarded` (RFC 7239)."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Everything that the gateway needs to know; times are seconds, sizes are bytes.

    `public_url` is the only origin that the platform names; `allowed_hosts` are further Host values (`name` or
    `name:port`) that are served beside it and the names of the local machine. Without `tls_key` the key is in the file
    of the certificate. Rates are requests a second; 0 is no limit.
    """

    public_url: str
    keeper_socket: str
    api_socket: str
    internal_socket: str
    run_dir: str = "/nonexistent"
    allowed_hosts: tuple[str, ...] = ()
    allow_localhost: bool = True
    tenant_hosts: str | None = None

    tls_certificate: str | None = None
    tls_key: str | None = None
    hsts_seconds: int = 365 * 86400
    handshake_seconds: float = 10.0
    max_handshakes: int = 512
    max_handshakes_per_address: int = 64

    trusted_proxies: tuple[str, ...] = ()
    forwarded_family: Family = "x-forwarded"

    address_rate: float = 300.0
    address_burst: int = 6000
    credential_rate: float = 100.0
    credential_burst: int = 2000

    wake_seconds: float = 30.0
    header_seconds: float = 10.0
    idle_seconds: float = 75.0
    stall_seconds: float = 60.0
    response_seconds: float = 600.0
    drain_seconds: float = 10.0
    hand_over_seconds: float = 600.0
    linger_seconds: float = 2.0
    sweep_seconds: float = 0.25

    # ZenML servers up to 0.82.1 ask for permissions with GET: some hundred resources of 120 bytes each in one target.
    max_head_bytes: int = 80 * 1024
    max_target_bytes: int = 64 * 1024
    max_headers: int = 100
    max_connections: int = 4096
    max_connections_per_address: int = 1024

    queue_per_upstream: int = 128
    default_max_in_flight: int = 64
    default_max_body_bytes: int = 100 * 1024 * 1024
    api_max_in_flight: int = 256
    api_max_body_bytes: int = 100 * 1024 * 1024

    pool_size: int = 32
    pool_idle_seconds: float = 4.0
    access_log: bool = True
    log_format: str = "json"
    metrics_token_sha256: str | None = None
    metrics_tenants: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.public_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"public_url must be an http or https address with a host, not {self.public_url!r}.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
                raise ValueError(f"The gateway's setting {field.name} must not be negative, it is {value}.")

    @classmethod
    def from_file(cls, path: Path) -> GatewaySettings:
        """Read `run/config.json`: the neighbours' sockets lie beside it, `gateway` holds deviations from the defaults.

        Raises `ValueError` with a sentence for unknown or ill-typed settings, `OSError` if the file cannot be read.
        """
        document = json.loads(path.read_text())
        run = Path(document.get("run_dir") or path.parent)
        given: dict[str, Any] = dict(document.get("gateway") or {})
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"{path}: unknown gateway settings {', '.join(unknown)}.")
        for name in ("allowed_hosts", "trusted_proxies"):
            if name in given:
                given[name] = tuple(given[name])
        values: dict[str, Any] = {
            "public_url": document["public_url"],
            "keeper_socket": str(run / "keeper.sock"),
            "api_socket": str(run / "api.sock"),
            "internal_socket": str(run / "internal.sock"),
            "run_dir": str(run),
        }
        if document.get("tls_certificate"):
            # As root the supervisor keeps a copy for us, because key files are commonly readable by root only.
            copied = document.get("service_uid") is not None
            values["tls_certificate"] = str(run / "tls.pem") if copied else document["tls_certificate"]
            values["tls_key"] = None if copied else document["tls_key"]
        return cls(**(values | given))
