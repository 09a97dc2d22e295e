"""Answers to the questions of ZenML servers: the very engine that decides inside of hosted tenants is asked."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from nagaya_policy import AllowedIds, Policy, ResourceError, format_resource, parse_resource
from nagaya_policy.catalogue import is_project_scoped

FOREIGN: Final = AllowedIds(False, (), "denied: a resource of another server")


def is_foreign(tenant_id: str, text: str) -> bool:
    """Whether a resource names a server, as ZenML up to 0.75.1 does, and that is not the tenant's."""
    try:
        return parse_resource(text).server not in {None, tenant_id}
    except ResourceError:
        return False


def check(policy: Policy, principal_id: str, action: str, resources: Collection[str], *, now: float) -> dict[str, bool]:
    """Decides on several resources; each is a key of the answer exactly as it was written.

    Args:
        policy: The policy of the tenant whose server asks.
        principal_id: Whose permissions are asked for.
        action: What is to be done.
        resources: Resources of any ZenML release; what is none is denied.
        now: Seconds since the epoch.
    """
    return {
        text: not is_foreign(policy.tenant, text) and policy.check(principal_id, action, text, now=now).allowed
        for text in resources
    }


def allowed_ids(policy: Policy, principal_id: str, action: str, resource: str, *, now: float) -> AllowedIds:
    """Returns which resources of a type somebody may act upon. Arguments as for `check`."""
    if is_foreign(policy.tenant, resource):
        return FOREIGN
    return policy.allowed_ids(principal_id, action, resource, now=now)


def stored_names(resource: str) -> list[str]:
    """Returns how shares of a resource may be stored, the form for new ones first.

    Up to 0.75.1 a server writes its own id in front. For what belongs to the whole tenant that says nothing; for what
    belongs to a project since 0.80 it is the only valid form, because there is no project.

    Raises:
        ResourceError: It is not a resource.
    """
    parsed = parse_resource(resource)
    if parsed.server is not None and is_project_scoped(parsed.type) is False:
        return [format_resource(replace(parsed, server=None)), str(parsed)]
    return [str(parsed)]
