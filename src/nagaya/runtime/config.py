"""The settings of one host that every process shares: a dataclass written to `run/config.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from nagaya.runtime.files import StateFileError, read_json, write_json

SOCKET_PATH_LIMIT = 107
"""Bytes that a unix socket's path may have on Linux (`sun_path` is 108 with its final NUL, unix(7))."""

LONGEST_SOCKET_NAME = 44
"""Bytes below the run directory that the longest socket name may take (`/zygote-<engine>-<n>.sock`)."""

DATA_FORMAT = 1
"""The newest layout of the data directory that this version understands (`instance.json`)."""


class ConfigError(Exception):
    """The settings cannot be used; the message says which one and what to do."""


def default_run_dir(data_dir: Path) -> Path:
    """Return where sockets and locks of `data_dir` live: `<data>/run`, or a short path when that is too long."""
    inside = data_dir / "run"
    if len(os.fsencode(inside)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    if os.geteuid() == 0:
        return Path("/run/nagaya") / digest
    return Path(tempfile.gettempdir()) / f"nagaya-{os.geteuid()}-{digest}"


@dataclass(frozen=True, kw_only=True)
class PlatformConfig:
    """Everything that supervisor, keeper, api and gateway must agree on. Times are in seconds, sizes in bytes."""

    data_dir: Path
    run_dir: Path
    engines_dir: Path
    public_url: str
    host: str = "127.0.0.1"
    port: int = 8440
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    redirect_port: int | None = None
    """Port of plain HTTP that only shows the way to TLS."""
    metrics_address: tuple[str, int] | None = None
    """Where metrics are served; None: nowhere."""
    detach: bool = False
    service_uid: int | None = None
    """The unprivileged user of the api; the gateway has the next number. None: everything runs as one user."""
    tenant_uids: tuple[int, int] | None = None
    """First and last user id for tenants. None: tenants run as the user of the keeper."""
    database_url: str | None = None
    master_key_file: Path | None = None
    wake_limit: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Tenants that may be starting at the same time."""
    wake_queue: int = 512
    """Further wakes that may wait; beyond that the answer is `busy`."""
    zygote_timeout: float = 180.0
    start_timeout: float = 15.0
    """From the request to fork until the process exists."""
    ready_timeout: float = 60.0
    """From the process's existence until it answers."""
    stop_timeout: float = 15.0
    """From SIGTERM until SIGKILL."""
    quiesce_timeout: float = 2.0
    backoff_seconds: float = 0.5
    backoff_limit: float = 30.0
    failure_limit: int = 10
    """Failures within `failure_window` after which a tenant is `failed`."""
    failure_window: float = 600.0
    failed_retry: float = 60.0
    """After so long a failed tenant may be tried once more by a wake."""
    log_bytes: int = 10 * 1024 * 1024
    """A log file beyond this size is copied to `<name>.1` and emptied; 0: never."""
    log_files: int = 1
    """How many old files of each log are kept."""
    log_format: str = "json"
    """`json` or `text`."""
    log_level: str = "info"
    default_engine: str | None = None
    api: dict[str, Any] = field(default_factory=dict)
    """Deviations from the api's defaults, by the names of `nagaya.http.settings.ApiSettings`."""
    gateway: dict[str, Any] = field(default_factory=dict)
    """Deviations from the gateway's defaults, by the names of `nagaya.gateway.settings.GatewaySettings`."""
    commands: dict[str, list[str]] = field(default_factory=dict)
    """Replacements for the command of a process (`api`, `gateway`, `keeper`), for tests and packagers."""

    @classmethod
    def create(cls, data_dir: Path, **values: Any) -> Self:
        """Build a configuration for `data_dir` with every path absolute and defaults that fit the current user.

        Raises ConfigError for a relative result or user ids that overlap.
        """
        data_dir = Path(os.path.abspath(data_dir))  # noqa: PTH100 - `resolve` would follow links the user chose.
        if os.geteuid() == 0:
            values.setdefault("service_uid", 199_998)
            values.setdefault("tenant_uids", (200_000, 265_535))
        values.setdefault("run_dir", default_run_dir(data_dir))
        values.setdefault("engines_dir", data_dir / "engines")
        host, port = values.get("host", "127.0.0.1"), values.get("port", 8440)
        values.setdefault("public_url", f"http://{host}:{port}")
        config = cls(data_dir=data_dir, **values)
        config._check()
        return config

    def _check(self) -> None:
        if len(os.fsencode(self.run_dir)) + LONGEST_SOCKET_NAME > SOCKET_PATH_LIMIT:
            raise ConfigError(f"The run directory {self.run_dir} is too long for unix sockets; choose a shorter path.")
        if self.tenant_uids is not None:
            first, last = self.tenant_uids
            if not 0 < first <= last:
                raise ConfigError(f"tenant_uids {first}–{last} is not a range of user ids.")
            if self.service_uid is not None and {self.service_uid, self.service_uid + 1} & set(range(first, last + 1)):
                raise ConfigError("service_uid and the number after it must lie outside tenant_uids.")

    @property
    def gateway_uid(self) -> int | None:
        """The gateway's user (and group) id, or None when everything runs as one user."""
        return None if self.service_uid is None else self.service_uid + 1

    @property
    def path(self) -> Path:
        """Where this configuration is stored."""
        return self.run_dir / "config.json"

    @property
    def master_key_path(self) -> Path:
        """The file with the master key."""
        return self.master_key_file or self.data_dir / "keys" / "master.key"

    @property
    def log_dir(self) -> Path:
        """The directory of the processes' logs."""
        return self.data_dir / "log"

    @property
    def control_dir(self) -> Path:
        """The directory of the control database, which only the api's user may enter."""
        return self.data_dir / "control"

    @property
    def keeper_dir(self) -> Path:
        """The keeper's durable state."""
        return self.data_dir / "keeper"

    @property
    def tls_is_copied(self) -> bool:
        """Whether the gateway reads a copy of certificate and key because its user may not read the files."""
        return self.tls_certificate is not None and self.gateway_uid is not None

    @property
    def tls_copy(self) -> Path:
        """The gateway's copy of certificate and key."""
        return self.run_dir / "tls.pem"

    def socket(self, name: str) -> Path:
        """Return the path of the socket `name` (`keeper`, `api`, `internal`, `channel`)."""
        return self.run_dir / f"{name}.sock"

    def save(self) -> None:
        """Write `run/config.json`; the database URL, which may hold a password, goes to the api's own `api.json`."""
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        values = dataclasses.asdict(self)
        secret = {"database_url": values.pop("database_url")}
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
        write_json(self.run_dir / "api.json", secret)
        if self.service_uid is not None and os.geteuid() == 0:
            os.chown(self.run_dir / "api.json", self.service_uid, self.service_uid)
        write_json(self.path, plain, mode=0o644)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration that `save` wrote; `database_url` is None for processes that may not know it.

        Raises ConfigError when the file is missing, damaged or of another version.
        """
        try:
            values = read_json(path)
        except StateFileError as error:
            raise ConfigError(str(error)) from error
        if values is None:
            raise ConfigError(f"There is no configuration at {path}; `nagaya up` writes it.")
        try:
            values |= json.loads((path.parent / "api.json").read_bytes())
        except (PermissionError, FileNotFoundError):
            values["database_url"] = None
        known = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"{path} has unknown settings: {', '.join(unknown)}; run `nagaya up` again.")
        for name in ("data_dir", "run_dir", "engines_dir", "master_key_file", "tls_certificate", "tls_key"):
            values[name] = Path(values[name]) if values.get(name) is not None else None
        if values.get("metrics_address") is not None:
            values["metrics_address"] = (str(values["metrics_address"][0]), int(values["metrics_address"][1]))
        if values.get("tenant_uids") is not None:
            values["tenant_uids"] = (int(values["tenant_uids"][0]), int(values["tenant_uids"][1]))
        return cls(**values)
