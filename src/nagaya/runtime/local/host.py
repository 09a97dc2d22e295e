"""What all tenants of one keeper share: settings, paths, secrets, the spawner, and who listens to changes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nagaya.engines import catalog, errors
from nagaya.metrics.catalogue import KEEPER
from nagaya.metrics.registry import Registry
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.interface import TenantSpec
from nagaya.runtime.local.environment import SECRET_NAMES, Secrets, build_spawn
from nagaya.runtime.local.limiter import WakeLimiter
from nagaya.runtime.local.spawn import Spawner, SpawnError
from nagaya.runtime.local.uids import UidAllocator, UidsExhaustedError, private_directory
from nagaya.runtime.local.zygotes import ZygotePool

BACKLOG = 1024


@dataclass
class Host:
    """The keeper's shared parts. `publish` sends an event to subscribers; `clock` gives monotonic seconds."""

    config: PlatformConfig
    pool: ZygotePool
    spawner: Spawner
    uids: UidAllocator
    limiter: WakeLimiter
    publish: Callable[[dict[str, Any]], None]
    clock: Callable[[], float] = field(default=time.monotonic)
    metrics: Registry = field(default_factory=lambda: Registry(KEEPER))

    def __post_init__(self) -> None:
        self._sockets = self.config.run_dir / "t"

    def tenant_dir(self, tenant: str) -> Path:
        """Return the directory of a tenant's own files."""
        return self.config.data_dir / "tenants" / tenant

    def prepare(self, spec: TenantSpec, policy_version: int | None) -> dict[str, Any]:
        """Make a tenant's directories under its own user and return its spawn message.

        Raises SpawnError with a sentence when something that it needs is missing.
        """
        if policy_version is None:
            raise SpawnError("no policy document has arrived for it yet")
        engine = catalog.find(self.config.engines_dir, spec.engine)
        if engine is None:
            raise SpawnError(self.pool.engines.missing(spec.engine) or errors.not_installed(spec.engine))
        directory = self.tenant_dir(spec.id)
        try:
            uid = self.uids.assign(spec.id)
            for path in (directory, directory / "config", directory / "log", directory / "tmp"):
                private_directory(path, uid)
        except (OSError, UidsExhaustedError) as error:
            raise SpawnError(f"its directory cannot be prepared: {error}") from error
        return build_spawn(
            spec,
            self._open_secrets(spec),
            directory=directory,
            channel=self.config.socket("channel"),
            template=engine.template,
            uid=uid,
        )

    def _open_secrets(self, spec: TenantSpec) -> Secrets:
        # Loaded here because the library is large and a keeper that wakes nobody does not need it.
        from nagaya.crypto import CryptoError, MasterKey, associated_data  # noqa: PLC0415

        try:
            key = MasterKey.load(self.config.master_key_path)
            opened = {
                name: key.open(spec.secrets[name], associated_data("tenants", name, spec.id)) for name in SECRET_NAMES
            }
        except KeyError as error:
            raise SpawnError(f"its specification lacks the secret {error}") from error
        except CryptoError as error:
            raise SpawnError(f"its secrets cannot be opened: {error}") from error
        return Secrets(**opened)

    def listen(self, tenant: str, generation: int) -> socket.socket:
        """Bind a tenant's socket of this generation; only the gateway can reach it, by the directory's mode."""
        path = self.socket_path(tenant, generation)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener

    def socket_path(self, tenant: str, generation: int) -> Path:
        """Return the path of a tenant's socket."""
        return Path(f"{self._sockets}/{tenant.replace('-', '')[:12]}-{generation}.sock")
