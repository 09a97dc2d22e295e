"""ZenML's role-based access control, answered from the policy in this process: no network, a few microseconds each.

ZenML asks only about resources that the caller does not own (`zenml.zen_server.rbac.utils`). Resources of the system
user are readable by every member and changed by nobody.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zenml.exceptions import IllegalOperationError
from zenml.zen_server.rbac.models import Action
from zenml.zen_server.rbac.rbac_interface import RBACInterface

from nagaya_tenant.context import tenant
from nagaya_tenant.rows import TABLES

if TYPE_CHECKING:
    from uuid import UUID

    from zenml.models import UserResponse
    from zenml.zen_server.rbac.models import Resource


class Decisions(dict[Any, bool]):
    """Decisions by resource, true even if there are none.

    `zenml.zen_server.rbac.utils.dehydrate_response_model` takes an empty dictionary for "not asked yet": for a list
    in which nothing needed a decision it would collect the parts of each part of each item anew, and ask again.
    """

    def __bool__(self) -> bool:
        return True


class NagayaRBAC(RBACInterface):  # type: ignore[misc]  # zenml is not installed where types are checked
    """Set as `rbac_implementation_source`; ZenML makes the one instance itself, without arguments."""

    def check_permissions(self, user: UserResponse, resources: set[Resource], action: Action) -> dict[Resource, bool]:
        """Whether a user may act on each of some resources.

        Args:
            user: The authenticated account.
            resources: Single resources, or types.
            action: What is to be done.

        Returns:
            A decision for every resource.

        Raises:
            IllegalOperationError: With the reason, if something other than reading is denied. Denied reading is only
                reported: ZenML masks what is not readable within larger answers.
        """
        principal = _principal(user.id)
        if principal is None:
            return Decisions.fromkeys(resources, False)
        answer = Decisions()
        verb = str(action)
        for resource in resources:
            allowed, reason = _decide(principal, resource, verb)
            if not allowed and verb != "read":
                raise IllegalOperationError(
                    f"Insufficient permissions to {verb.upper()} resource '{resource}': {reason}"
                )
            answer[resource] = allowed
        return answer

    def list_allowed_resource_ids(
        self, user: UserResponse, resource: Resource, action: Action
    ) -> tuple[bool, list[str]]:
        """Which resources of a type a user may act on, beside the own ones.

        Args:
            user: The authenticated account.
            resource: A type, in a project if its resources belong to one.
            action: What is to be done.

        Returns:
            Whether all, and if not, the ids.
        """
        principal = _principal(user.id)
        if principal is None:
            return False, []
        platform = tenant().rows.platform_ids(resource.type)
        allowed = tenant().policy.allowed_ids(principal, str(action), str(resource), platform)
        return allowed.full_access, list(allowed.ids)

    def update_resource_membership(
        self,
        sharing_user: UserResponse,
        resource: Resource,
        actions: list[Action],
        user_id: str | None = None,
        team_id: str | None = None,
    ) -> None:
        """Replaces what a resource lets another user or team do; the control plane stores it and tells all tenants.

        Args:
            sharing_user: Who shares; ZenML has checked that this user may.
            resource: What is shared.
            actions: The new set of actions; none takes the share back.
            user_id: The platform's id of the user to share with.
            team_id: The platform's id of the team to share with.

        Raises:
            IllegalOperationError: The control plane refuses it, with its reason.
            KeyError: There is no such user or team.
            ValueError: The control plane cannot use the request.
            RuntimeError: The control plane does not answer.
        """
        principal = _principal(sharing_user.id)
        if principal is None:
            raise IllegalOperationError("This account cannot share resources.")
        share = {
            "sharing_user_id": principal,
            "user_id": user_id,
            "team_id": team_id,
            "resource": str(resource),
            "actions": [str(each) for each in actions],
            "owned": _made_by(sharing_user.id, resource),
        }
        tenant().channel.share(share)

    def delete_resources(self, resources: list[Resource]) -> None:
        """Queues that resources are gone, so that their shares can be removed; of a project, all that it held.

        Args:
            resources: Single resources.
        """
        names = [str(each) for each in resources]
        tenant().outbox.append({"kind": "resources_deleted", "time": time.time(), "resources": names})


def _principal(account: UUID) -> str | None:
    principals = tenant().principals
    return principals.known_principal(account) or principals.principal_of(account)


def _made_by(account: UUID, resource: Resource) -> bool:
    """Whether a resource's row names the account as its owner; rows of the platform, or of nobody, are not owned.

    ZenML lets owners share without asking (`zenml.zen_server.rbac.utils.is_owned_by_authenticated_user`, which takes
    rows of nobody for everybody's own). The control plane decides by the policy, and learns this fact from here only.
    """
    table = TABLES.get(resource.type)
    if resource.id is None or table is None:
        return False
    rows = tenant().rows
    row = rows.find(table, resource.id)
    return row is not None and row.user == account and not rows.is_platform(table, row)


def _decide(principal: str, resource: Any, action: str) -> tuple[bool, str]:
    parts = tenant()
    name = str(resource)
    decision = parts.policy.check(principal, action, name)
    table = TABLES.get(resource.type)
    if resource.id is None or table is None or decision.allowed == (action == "read"):
        # Reading what is allowed, or changing what is denied, does not depend on whose row it is.
        return decision.allowed, decision.reason
    row = parts.rows.find(table, resource.id)
    if row is None or not parts.rows.is_platform(table, row):
        return decision.allowed, decision.reason
    decision = parts.policy.check(principal, action, name, system_owned=True)
    return decision.allowed, decision.reason
