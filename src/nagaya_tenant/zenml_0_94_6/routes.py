"""Every route of ZenML 0.94.6 in cloud mode, told as its differences from 0.98.0.

Found by comparing every router of the two releases. Where a handler of 0.94.6 checks less than its namesake in 0.98.0,
the guard checks first, with the reason beside the entry.
"""

from __future__ import annotations

from nagaya_tenant import guard_checks as check
from nagaya_tenant.routes import API
from nagaya_tenant.zenml_0_98_0 import routes as later
from nagaya_tenant.zenml_0_98_0.routes import checked, refused

_ABSENT = (
    "/hook_invocations",
    "/logs/{logs_id}/entries",
    "/pipeline_snapshots/prune",
    "/resource_requests/{resource_request_id}/renew",
    "/resource_requests/{resource_request_id}/release",
    "/webhooks",
)
"""Beginnings of the paths that came after 0.94.6."""

_REPLACES = (
    "With `replace` ZenML takes the name from whatever snapshot has it; 0.98.0 asks whether that may be deleted."
)
_POOLS = (
    ("resource_pools", "resource_pool_id"),
    ("resource_pool_subject_policies", "policy_id"),
)

_DIFFERENT = (
    *(
        refused(line, later.POOLS)
        for name, param in _POOLS
        for line in (
            f"GET /{name}",
            f"POST /{name}",
            f"GET /{name}/{{{param}}}",
            f"PUT /{name}/{{{param}}}",
            f"DELETE /{name}/{{{param}}}",
        )
    ),
    refused("DELETE /resource_requests/{resource_request_id}", later.POOLS),
    checked(
        "GET /stack-deployment/stack",
        check.deployed_stack,
        reason="ZenML finds the newest stack of a deployment without asking whose it is, and does not mask its parts.",
    ),
    checked("POST /pipeline_snapshots", check.replaced_snapshot, body=True, run=True, reason=_REPLACES),
    checked(
        "PUT /pipeline_snapshots/{snapshot_id}",
        check.replaced_snapshot,
        body=True,
        row=("pipeline_snapshot", "snapshot_id"),
        reason=_REPLACES,
    ),
)

_CHANGED = {(route.method, route.path) for route in _DIFFERENT}

ROUTES = (
    *(
        route
        for route in later.ROUTES
        if (route.method, route.path) not in _CHANGED
        and not route.path.startswith(tuple(API + path for path in _ABSENT))
    ),
    *_DIFFERENT,
)
