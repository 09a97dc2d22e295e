"""The form of what a forked child must forget, and makers of the values that a fresh process would have.

The tables are in `nagaya_tenant.zenml_<version>.forks`.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
        lazy: Modules that this version imports at its first requests, beside those of every version (`warm`).
    """

    emptied: Mapping[str, tuple[str, ...]]
    renewed: Mapping[str, Mapping[str, Callable[[], Any]]]
    singletons: tuple[tuple[str, str, str], ...]
    metaclass: tuple[str, str, str]
    evicted: tuple[str, ...]
    forbidden: tuple[tuple[str, str], ...]
    lazy: tuple[str, ...] = ()


def own_process() -> Any:
    """This process for psutil."""
    import psutil  # noqa: PLC0415 - only in an engine

    return psutil.Process(os.getpid())


def now() -> Any:
    """The time as ZenML keeps it."""
    from zenml.utils.time_utils import utc_now  # noqa: PLC0415 - only in an engine

    return utc_now()


def long_ago() -> Any:
    """A time before any request."""
    # The first request of a user is then reported to the database at once, as in a fresh process.
    from datetime import timedelta  # noqa: PLC0415

    return now() - timedelta(days=1)
