"""Every route of ZenML 0.98.0 in cloud mode, and what the guard does about it.

Found by reading every router in `zenml.zen_server.routers`. Where the handler itself calls `verify_permission*` with
the right resource, the entry says `zenml`; the reasons of all others stand beside them. Handlers that exist only with a
workload manager (`…/runs` of snapshots and templates, `…/replay`) are listed as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nagaya_tenant import guard_checks as check
from nagaya_tenant.routes import API, Access, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


def _route(line: str, access: Access, **fields: Any) -> Route:
    """An entry from `METHOD /path`, the path relative to the API unless it starts with `//`."""
    method, path = line.split()
    path = path[1:] if path.startswith("//") else API + path
    fields.setdefault("audit", method in _CHANGES and access in {Access.ZENML, Access.CHECKED})
    return Route(method=method, path=path, access=access, **fields)


def public(line: str, reason: str) -> Route:
    """A route without credentials."""
    return _route(line, Access.PUBLIC, reason=reason)


def local(line: str, **fields: Any) -> Route:
    """A route that the guard answers."""
    return _route(line, Access.LOCAL, **fields)


def zenml(line: str, **fields: Any) -> Route:
    """A route whose handler checks permissions."""
    return _route(line, Access.ZENML, **fields)


def checked(line: str, *checks: Any, reason: str, **fields: Any) -> Route:
    """A route that the guard checks because the handler does not."""
    return _route(line, Access.CHECKED, checks=checks, reason=reason, **fields)


def refused(line: str, reason: str) -> Route:
    """A route that nobody may use."""
    return _route(line, Access.REFUSED, reason=reason)


def resource(path: str, param: str, table: str, methods: str, run: str = "") -> Iterator[Route]:
    """The usual routes of one resource, all checked by ZenML.

    Args:
        path: Of the collection.
        param: Name of the path parameter of one resource.
        table: Database table of the resource.
        methods: Of `L` list, `C` create, `R` read, `U` update, `D` delete, those that exist.
        run: Those of them that runs may use.
    """
    shapes = {"L": "GET {}", "C": "POST {}", "R": "GET {}/{{{}}}", "U": "PUT {}/{{{}}}", "D": "DELETE {}/{{{}}}"}
    for letter in methods:
        row = (table, param) if letter in "UD" else None
        yield zenml(shapes[letter].format(path, param), run=letter in run, row=row)


_ACCOUNTS = "Service accounts and API keys are made by the organization in the control plane, not inside a tenant."
_DEVICES = "Devices are authorized by the control plane; in cloud mode the tenant's own device flow is off."
REPLACES = "With `replace` ZenML takes the name from whatever snapshot has it; only POST /pipeline_snapshots asks."
POOLS = "Resource pools are not part of open-source ZenML, and its handlers check no permissions."

_WEB = (
    *(public(f"{method} //{path}", "Liveness.") for path in ("health", "ready") for method in ("GET", "HEAD")),
    public("GET //", "Redirects to the dashboard."),
    public("GET //{file_path:path}", "Redirects to the dashboard."),
    public("GET //api/{invalid_api_path:path}", "Answers 404."),
    *(local(f"{method} //openapi.json") for method in ("GET", "HEAD")),
    *(local(f"{method} //docs") for method in ("GET", "HEAD")),
    *(
        refused(f"{method} //docs/oauth2-redirect", "The page uses the browser's session.")
        for method in ("GET", "HEAD")
    ),
    *(refused(f"{method} //redoc", "It loads code from another origin; use /docs.") for method in ("GET", "HEAD")),
)

_SERVER = (
    public("GET /version", "A constant."),
    public("GET /info", "What clients need before they log in."),
    public("GET /supported-events", "A constant list."),
    public("GET /logout", "Deletes a cookie."),
    local("POST /login"),
    local("POST /device_authorization"),
    local("GET /api_token", run=True, checks=(check.workload_token,)),
    zenml("GET /load-info"),
    zenml("GET /onboarding_state"),
    zenml("GET /statistics"),
    zenml("GET /current-user", run=True),
    zenml("GET /users"),
    zenml("GET /users/{user_name_or_id}"),
    checked("PUT /users/{user_name_or_id}", check.own_account, reason="With roles ZenML lets all change all accounts."),
    checked(
        "POST /users/resource_membership",
        check.shared_row,
        reason="ZenML lets everybody share what belongs to nobody; the platform's rows are never shared.",
    ),
    refused("GET /devices", _DEVICES),
    refused("GET /devices/{device_id}", _DEVICES),
    refused("PUT /devices/{device_id}", _DEVICES),
    refused("PUT /devices/{device_id}/verify", _DEVICES),
    refused("DELETE /devices/{device_id}", _DEVICES),
    *resource("/service_accounts", "service_account_name_or_id", "user", "LR"),
    refused("POST /service_accounts", _ACCOUNTS),
    refused("PUT /service_accounts/{service_account_name_or_id}", _ACCOUNTS),
    refused("DELETE /service_accounts/{service_account_name_or_id}", _ACCOUNTS),
    zenml("GET /service_accounts/{service_account_id}/api_keys"),
    zenml("GET /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}"),
    refused("POST /service_accounts/{service_account_id}/api_keys", _ACCOUNTS),
    refused("PUT /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}", _ACCOUNTS),
    refused("PUT /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}/rotate", _ACCOUNTS),
    refused("DELETE /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}", _ACCOUNTS),
    refused("GET /resource_requests", POOLS),
    refused("GET /resource_requests/{resource_request_id}", POOLS),
    refused("POST /resource_requests/{resource_request_id}/renew", POOLS),
    refused("POST /resource_requests/{resource_request_id}/release", POOLS),
)

_STACKS = (
    *resource("/stacks", "stack_id", "stack", "LCRUD", run="LR"),
    *resource("/components", "component_id", "stack_component", "LCRUD", run="LR"),
    zenml("GET /component-types", run=True),
    *resource("/flavors", "flavor_id", "flavor", "LRD", run="LR"),
    checked(
        "POST /flavors",
        check.flavor_source,
        body=True,
        reason="The server imports the source; ZenML checks the permission afterwards.",
    ),
    checked(
        "PUT /flavors/{flavor_id}",
        check.flavor_source,
        body=True,
        row=("flavor", "flavor_id"),
        reason="As for POST; and ZenML lets everybody change built-in flavors.",
    ),
    zenml("PATCH /flavors/sync"),
    *resource("/service_connectors", "connector_id", "service_connector", "LCRUD", run="LR"),
    zenml("GET /service_connectors/resources", run=True),
    zenml("POST /service_connectors/verify", audit=False),
    zenml("PUT /service_connectors/{connector_id}/verify", run=True, audit=False),
    zenml("GET /service_connectors/{connector_id}/client", run=True),
    zenml("POST /service_connectors/full_stack_resources", audit=False),
    zenml("GET /service_connector_types", run=True),
    zenml("GET /service_connector_types/{connector_type}", run=True),
    *resource("/secrets", "secret_id", "secret", "LCRUD", run="LR"),
    zenml("PUT /secrets_operations/backup"),
    zenml("PUT /secrets_operations/restore"),
    zenml("GET /stack-deployment/info"),
    zenml("GET /stack-deployment/config"),
    zenml("GET /stack-deployment/stack"),
)

_RUNS = (
    *resource("/pipelines", "pipeline_id", "pipeline", "LCRUD", run="LCR"),
    *resource("/pipeline_builds", "build_id", "pipeline_build", "LCRD", run="LCR"),
    *resource("/pipeline_deployments", "deployment_id", "pipeline_snapshot", "LRD", run="LR"),
    checked("POST /pipeline_deployments", check.replaced_snapshot, body=True, run=True, reason=REPLACES),
    *resource("/pipeline_snapshots", "snapshot_id", "pipeline_snapshot", "LCRUD", run="LCR"),
    zenml("POST /pipeline_snapshots/prune"),
    zenml("GET /pipeline_snapshots/{snapshot_id}/download-token", run=True),
    public("GET /pipeline_snapshots/{snapshot_id}/code", "Needs a download token of 30 seconds in the query."),
    zenml("POST /pipeline_snapshots/{snapshot_id}/runs", run=True),
    *resource("/runs", "run_id", "pipeline_run", "LCRUD", run="LCRU"),
    zenml("POST /runs/statistics", audit=False),
    checked(
        "GET /runs/{run_id}/steps",
        check.steps_of_run,
        run=True,
        reason="ZenML checks the run, but does not mask the artifacts in the answer.",
    ),
    zenml("GET /runs/{run_id}/pipeline-configuration", run=True),
    zenml("GET /runs/{run_id}/status", run=True),
    zenml("GET /runs/{run_id}/dag", run=True),
    zenml("POST /runs/{run_id}/refresh", run=True, audit=False),
    zenml("POST /runs/{run_id}/stop", run=True, row=("pipeline_run", "run_id")),
    zenml("GET /runs/{run_id}/logs", run=True),
    zenml("PUT /runs/{run_id}/disable_heartbeat", run=True, row=("pipeline_run", "run_id")),
    zenml("POST /runs/{run_id}/replay"),
    # Events and heartbeats come many times a minute and change nothing that anybody decided.
    zenml("POST /runs/{pipeline_run_id}/events", run=True, audit=False, row=("pipeline_run", "pipeline_run_id")),
    zenml("GET /runs/{pipeline_run_id}/events/stream", run=True),
    zenml("GET /steps", run=True),
    zenml("POST /steps", run=True),
    zenml("GET /steps/{step_id}", run=True),
    zenml("PUT /steps/{step_id}", run=True, row=("step_run", "step_id")),
    checked(
        "PUT /steps/{step_run_id}/heartbeat",
        check.heartbeat,
        run=True,
        audit=False,
        reason="ZenML compares the run of a run's token, and lets every other member through.",
    ),
    zenml("GET /steps/{step_id}/step-configuration", run=True),
    zenml("GET /steps/{step_id}/status", run=True),
    zenml("GET /steps/{step_id}/logs", run=True),
    checked(
        "POST /run-metadata",
        check.run_metadata,
        body=True,
        run=True,
        reason="ZenML does not check steps among the resources.",
    ),
    zenml("GET /run_wait_conditions", run=True),
    zenml("POST /run_wait_conditions", run=True),
    zenml("GET /run_wait_conditions/{run_wait_condition_id}", run=True),
    zenml("PUT /run_wait_conditions/{run_wait_condition_id}", run=True, audit=False),
    zenml(
        "PUT /run_wait_conditions/{run_wait_condition_id}/resolve", row=("run_wait_condition", "run_wait_condition_id")
    ),
    *resource("/run_templates", "template_id", "run_template", "LCRUD", run="LR"),
    zenml("POST /run_templates/{template_id}/runs", run=True),
    *resource("/schedules", "schedule_id", "schedule", "LCRUD", run="LR"),
    zenml("GET /hook_invocations", run=True),
    zenml("POST /hook_invocations", run=True),
    zenml("GET /hook_invocations/{hook_invocation_id}", run=True),
    zenml("DELETE /hook_invocations/{hook_invocation_id}", row=("hook_invocation", "hook_invocation_id")),
    checked("POST /logs", check.create_logs, body=True, run=True, reason="ZenML checks runs and steps only."),
    zenml("GET /logs/{logs_id}", run=True),
    zenml("GET /logs/{logs_id}/entries", run=True),
    checked(
        "PUT /logs/{logs_id}",
        check.update_logs,
        run=True,
        reason="ZenML checks the run that logs are moved to, not whose logs they are.",
    ),
)

_ARTIFACTS = (
    *resource("/artifacts", "artifact_id", "artifact", "LCRUD", run="LCRU"),
    *resource("/artifact_versions", "artifact_version_id", "artifact_version", "LCRUD", run="LCRU"),
    zenml("POST /artifact_versions/batch", run=True),
    zenml("DELETE /artifact_versions"),
    zenml("GET /artifact_versions/{artifact_version_id}/visualize", run=True),
    zenml("GET /artifact_versions/{artifact_version_id}/download-token", run=True),
    public("GET /artifact_versions/{artifact_version_id}/data", "Needs a download token of 30 seconds in the query."),
    *resource("/models", "model_id", "model", "LCRUD", run="LCRU"),
    zenml("GET /models/{model_name_or_id}/model_versions", run=True),
    *resource("/model_versions", "model_version_id", "model_version", "LCRUD", run="LCRU"),
    *(
        zenml(f"DELETE /model_versions/{{model_version_id}}/{rest}", row=("model_version", "model_version_id"))
        for rest in (
            "artifacts",
            "artifacts/{model_version_artifact_link_name_or_id}",
            "runs/{model_version_pipeline_run_link_name_or_id}",
        )
    ),
    checked(
        "POST /model_version_artifacts",
        check.link_artifact,
        body=True,
        run=True,
        reason="ZenML does not check the artifact, which the link makes visible.",
    ),
    checked("GET /model_version_artifacts", check.list_links, run=True, reason="ZenML checks nothing."),
    checked(
        "POST /model_version_pipeline_runs",
        check.link_run,
        body=True,
        run=True,
        reason="ZenML does not check the run, which the link makes visible.",
    ),
    checked("GET /model_version_pipeline_runs", check.list_links, run=True, reason="ZenML checks nothing."),
    checked("POST /tags", check.create_tag, run=True, reason="ZenML checks nothing."),
    checked("GET /tags", check.read_tags, run=True, reason="ZenML checks nothing."),
    checked("GET /tags/{tag_id}", check.read_tag, run=True, reason="ZenML checks nothing."),
    *resource("/tags", "tag_id", "tag", "UD"),
    *(
        checked(
            f"{method} /tag_resources{rest}",
            check.tag_resources,
            body=True,
            run=True,
            reason="ZenML lets everybody tag what belongs to nobody.",
        )
        for method in ("POST", "DELETE")
        for rest in ("", "/batch")
    ),
    checked(
        "POST /curated_visualizations",
        check.curate,
        body=True,
        run=True,
        reason="ZenML checks where it is shown, not the artifact that it shows.",
    ),
    zenml("GET /curated_visualizations/{visualization_id}", run=True),
    zenml("PUT /curated_visualizations/{visualization_id}"),
    zenml("DELETE /curated_visualizations/{visualization_id}"),
)

_PROJECTS = (
    *resource("/projects", "project_name_or_id", "project", "LCRUD", run="LR"),
    zenml("GET /projects/{project_name_or_id}/statistics"),
    *resource("/code_repositories", "code_repository_id", "code_repository", "LCRUD", run="LR"),
    *resource("/deployments", "deployment_id", "deployment", "LCRUD", run="LRU"),
    *resource("/services", "service_id", "service", "LCRUD", run="LCRU"),
    *resource("/triggers", "trigger_id", "trigger", "LCRUD"),
    zenml("PUT /triggers/{trigger_id}/pipeline_snapshots/{snapshot_id}", row=("trigger", "trigger_id")),
    zenml("DELETE /triggers/{trigger_id}/pipeline_snapshots/{snapshot_id}", row=("trigger", "trigger_id")),
    zenml("DELETE /triggers/{trigger_id}/dispatch_state", row=("trigger", "trigger_id")),
    *resource("/webhooks", "webhook_id", "webhook", "LCRUD"),
    zenml("GET /webhooks/{webhook_id}/events/raw"),
    zenml("PUT /webhooks/{webhook_id}/secret", row=("webhook", "webhook_id")),
    public("POST /webhooks/{webhook_type}/{webhook_id}/events", "Signed by the sender with the webhook's secret."),
)


def _of_workspaces() -> Iterator[Route]:
    """The deprecated routes below `/workspaces`, which are the same handlers as their newer forms."""
    yield from resource("/workspaces", "project_name_or_id", "project", "LCRUD", run="LR")
    yield zenml("GET /workspaces/{project_name_or_id}/statistics")
    base = "/workspaces/{project_name_or_id}"
    for name, methods, run in (
        ("code_repositories", "GET POST", "GET"),
        ("pipeline_builds", "GET POST", "GET POST"),
        ("pipeline_deployments", "GET", "GET"),
        ("pipelines", "GET POST", "GET POST"),
        ("run_templates", "GET POST", "GET"),
        ("runs", "GET POST", "GET POST"),
        ("schedules", "GET POST", "GET"),
        ("service_connectors", "GET POST", "GET"),
        ("components", "GET POST", "GET"),
        ("stacks", "GET POST", "GET"),
        ("models", "POST", "POST"),
        ("models/{model_id}/model_versions", "POST", "POST"),
        ("services", "POST", "POST"),
        ("resources", "GET", "GET"),
    ):
        for method in methods.split():
            yield zenml(f"{method} {base}/{name}", run=method in run.split())
    yield zenml("POST /workspaces/{workspace_name_or_id}/secrets")
    yield checked(f"POST {base}/pipeline_deployments", check.replaced_snapshot, body=True, run=True, reason=REPLACES)
    yield checked(
        f"POST {base}/run-metadata",
        check.run_metadata,
        body=True,
        run=True,
        reason="As for POST /run-metadata.",
    )


ROUTES: tuple[Route, ...] = (
    *_WEB,
    *_SERVER,
    *_STACKS,
    *_RUNS,
    *_ARTIFACTS,
    *_PROJECTS,
    *_of_workspaces(),
)
