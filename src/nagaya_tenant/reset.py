"""What ZenML remembers in module globals and singletons, per version, and how a forked child forgets it.

Everything here is private to ZenML. `Reset` therefore looks up every name when the zygote starts and refuses a version
whose names differ, instead of setting attributes that nobody reads. Nothing of ZenML is replaced or patched.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from nagaya_tenant.version import UnsupportedEngineError, require_forkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


@dataclasses.dataclass(frozen=True, slots=True)
class ResetTable:
    """Private names of one ZenML version.

    Attributes:
        emptied: Module → globals that are None until the lifespan (or first use) fills them.
        renewed: Module → global → maker of the value that a fresh process would have.
        singletons: Classes (module, class, method) whose one instance is forgotten by calling the method.
        metaclass: Metaclass (module, class, method) of all other singletons.
        evicted: Modules that compute tenant values while they are imported, so that they must be imported again.
        forbidden: Classes (module, class) of which no instance may be alive before a fork.
    """

    emptied: Mapping[str, tuple[str, ...]]
    renewed: Mapping[str, Mapping[str, Callable[[], Any]]]
    singletons: tuple[tuple[str, str, str], ...]
    metaclass: tuple[str, str, str]
    evicted: tuple[str, ...]
    forbidden: tuple[tuple[str, str], ...]


def _own_process() -> Any:
    import psutil  # noqa: PLC0415 - only in an engine

    return psutil.Process(os.getpid())


def _now() -> Any:
    from zenml.utils.time_utils import utc_now  # noqa: PLC0415 - only in an engine

    return utc_now()


def _long_ago() -> Any:
    # The first request of a user is then reported to the database at once, as in a fresh process.
    from datetime import timedelta  # noqa: PLC0415

    return _now() - timedelta(days=1)


_UTILS = "zenml.zen_server.utils"
_MIDDLEWARE = "zenml.zen_server.middleware"

TABLES: Mapping[str, ResetTable] = {
    "0.98.0": ResetTable(
        emptied={
            _UTILS: (
                "_zen_store",
                "_rbac",
                "_feature_gate",
                "_workload_manager",
                "_resource_pool_store",
                "_snapshot_executor",
                "_maintenance_executor",
                "_snapshot_run_dispatcher",
                "_request_manager",
                "_stream_broker",
                "_stream_broadcaster",
                "_stream_end_handler",
                "_artifact_store_cache",
                "_server_config",
                "event_loop_lag_monitor_task",
            ),
            "zenml.zen_server.secure_headers": ("_secure_headers",),
            "zenml.zen_server.cloud_utils": ("_cloud_connection",),
        },
        renewed={
            _UTILS: {"process": _own_process},
            _MIDDLEWARE: {
                "active_requests_count": int,
                "active_requests_lock": asyncio.Lock,
                "last_user_activity": _now,
                "last_user_activity_reported": _long_ago,
                "last_user_activity_lock": asyncio.Lock,
            },
        },
        singletons=(
            ("zenml.config.global_config", "GlobalConfiguration", "_reset_instance"),
            ("zenml.client", "Client", "_reset_instance"),
        ),
        metaclass=("zenml.utils.singleton", "SingletonMetaClass", "_clear"),
        evicted=("zenml.zen_server.feature_gate.zenml_cloud_feature_gate",),
        forbidden=(
            ("sqlalchemy.engine", "Engine"),
            ("zenml.zen_stores.sql_zen_store", "SqlZenStore"),
            ("zenml.config.global_config", "GlobalConfiguration"),
            ("zenml.config.server_config", "ServerConfiguration"),
            ("zenml.config.server_config", "ServerProConfiguration"),
            ("zenml.models", "UserResponse"),
            ("nagaya_tenant.settings", "TenantSettings"),
        ),
    ),
}


class Reset:
    """The reset of one version, with every private name looked up once.

    Raises:
        UnsupportedEngineError: If the version has no table, or a name of its table does not exist.
    """

    def __init__(self, version: str) -> None:
        require_forkable(version)
        table = TABLES.get(version)
        if table is None:
            raise UnsupportedEngineError(f"ZenML {version} is declared forkable but has no reset table.")
        self._version = version
        self._table = table
        self._emptied = {self._module(name): names for name, names in table.emptied.items()}
        self._renewed = {self._module(name): makers for name, makers in table.renewed.items()}
        for module, names in (*self._emptied.items(), *self._renewed.items()):
            for name in names:
                self._attribute(module, name)
        self._forget_instance = [self._method(*entry) for entry in table.singletons]
        self._method(*table.metaclass)
        self._singleton_classes: tuple[Any, ...] = ()
        self._forbidden = tuple(self._attribute(self._module(module), name) for module, name in table.forbidden)
        self.discover()

    def discover(self) -> None:
        """Finds all singleton classes among what is imported by now; call it again after further imports."""
        module, name, method = self._table.metaclass
        metaclass = self._attribute(self._module(module), name)
        classes = [found for found in gc.get_objects() if isinstance(found, metaclass)]
        self._singleton_classes = tuple(getattr(found, method) for found in classes)

    def forget(self) -> None:
        """Puts ZenML back into the state that it has right after import; the environment is read again afterwards."""
        for forget_instance in (*self._forget_instance, *self._singleton_classes):
            forget_instance()
        for module, names in self._emptied.items():
            for name in names:
                setattr(module, name, None)
        for module, makers in self._renewed.items():
            for name, make in makers.items():
                setattr(module, name, make())
        for evicted in self._table.evicted:
            sys.modules.pop(evicted, None)

    def survivors(self) -> list[str]:
        """Returns the class names of objects that must not exist before a fork but are alive."""
        return sorted(type(found).__name__ for found in gc.get_objects() if isinstance(found, self._forbidden))

    def _module(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise UnsupportedEngineError(
                f"ZenML {self._version} has no module {name}, which the reset table names: {error}."
            ) from error

    def _attribute(self, module: ModuleType, name: str) -> Any:
        if not hasattr(module, name):
            raise UnsupportedEngineError(
                f"ZenML {self._version} has no {module.__name__}.{name}, which the reset table names; "
                "its tenants must be started plainly."
            )
        return getattr(module, name)

    def _method(self, module: str, name: str, method: str) -> Any:
        owner = self._attribute(self._module(module), name)
        if not callable(getattr(owner, method, None)):
            raise UnsupportedEngineError(f"ZenML {self._version} has no {module}.{name}.{method}.")
        return getattr(owner, method)
