"""Lists for members who may read everything: ZenML's masking of unreadable parts is left out where it masks nothing.

After every list ZenML collects the parts of each item, asks about them, and validates every model anew
(`zenml.zen_server.rbac.utils.dehydrate_response_model_batch`). That is up to half of the time of a list, and gives the
same models back when the caller may read every type of resource in every project. Whoever may not, gets ZenML's own
function: this module never decides about a single part.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from nagaya_tenant.context import tenant

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from uuid import UUID

Batch = TypeVar("Batch", bound=list[Any])


def reads_everything(account: UUID) -> bool:
    """Whether an account may read all resources of every type that ZenML knows, in all projects, at this moment.

    Args:
        account: ZenML's id of the caller.
    """
    from zenml.zen_server.rbac.models import ResourceType  # noqa: PLC0415 - only in an engine

    parts = tenant()
    principal = parts.principals.known_principal(account)
    return principal is not None and parts.policy.reads_all(principal, [each.value for each in ResourceType])


def install(utils: ModuleType) -> None:
    """Puts the shortcut in front of ZenML's function; done once per process, later calls change nothing.

    Args:
        utils: `zenml.zen_server.rbac.utils`, whose `dehydrate_page` finds the function by its name.
    """
    original = utils.dehydrate_response_model_batch
    if not hasattr(original, "__wrapped__"):
        vars(utils)["dehydrate_response_model_batch"] = _shortened(original, utils)


def _shortened(original: Callable[[Batch], Batch], utils: ModuleType) -> Callable[[Batch], Batch]:
    @functools.wraps(original)
    def dehydrate_response_model_batch(batch: Batch) -> Batch:
        caller = utils.get_auth_context()
        if caller is not None and reads_everything(caller.user.id):
            return batch
        return original(batch)

    return dehydrate_response_model_batch
