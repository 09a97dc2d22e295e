"""How a forked child forgets what ZenML remembers in module globals and singletons.

Their names are private to each version (`nagaya_tenant.zenml_<version>.forks`). `Reset` therefore looks up every name
when the zygote starts and refuses a version whose names differ, instead of setting attributes that nobody reads.
Nothing of ZenML is replaced or patched.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import TYPE_CHECKING, Any

from nagaya_tenant import version as versions
from nagaya_tenant.version import UnsupportedEngineError

if TYPE_CHECKING:
    from types import ModuleType

    from nagaya_tenant.reset_table import ResetTable


def table_for(version: str) -> ResetTable:
    """What forks of a version must forget.

    Raises:
        UnsupportedEngineError: If that is not known.
    """
    versions.require_forkable(version)
    table: ResetTable = versions.part(version, "forks").TABLE
    return table


class Reset:
    """The reset of one version, with every private name looked up once.

    Raises:
        UnsupportedEngineError: If the version has no table, or a name of its table does not exist.
    """

    def __init__(self, version: str) -> None:
        table = table_for(version)
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

    @property
    def lazy_modules(self) -> tuple[str, ...]:
        """Modules of this version that are imported at the first requests."""
        return self._table.lazy

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
        # By classes, of which there are few: asking each of two million objects would take half a second.
        kinds: dict[type[Any], bool] = {}
        found: list[str] = []
        for kind in map(type, gc.get_objects()):
            if kind not in kinds:
                kinds[kind] = issubclass(kind, self._forbidden)
            if kinds[kind]:
                found.append(kind.__name__)
        return sorted(found)

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
