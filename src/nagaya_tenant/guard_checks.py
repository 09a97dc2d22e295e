"""The checks that the guard makes before handlers which ZenML leaves unchecked or checks too little.

Every check gets an `Inquiry`, runs in a worker thread, and raises a `Refusal` or returns. A body or query that it
cannot make sense of is left to the handler wherever the handler then refuses it too.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import UUID

from nagaya_tenant.errors import BadRequest, Forbidden, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nagaya_policy.decisions import Decision
    from nagaya_tenant.context import Tenant

FLAVOR_SOURCES = ("zenml.", "nagaya_stack.")
_TAGGED = {"pipeline_snapshot": "pipeline_deployment"}


@dataclasses.dataclass(slots=True, kw_only=True)
class Inquiry:
    """One request, as far as a check may see it.

    Args:
        tenant: The parts of this process.
        principal: The platform's id of who asks.
        account: ZenML's id of who asks.
        run_scope: Whether a token of a run was used.
        params: Path parameters.
        query: The raw query string.
        raw_body: The body, if the route's check reads it.
    """

    tenant: Tenant
    principal: str
    account: UUID
    run_scope: bool
    params: Mapping[str, str]
    query: bytes
    raw_body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            BadRequest: It is none; a plain server answers 422 too.
        """
        try:
            return json.loads(self.raw_body)
        except (ValueError, RecursionError) as error:
            raise BadRequest("The body is not valid JSON.", status=422) from error

    def query_value(self, name: str) -> str | None:
        """The only value of a query parameter, `None` if it is absent or given more than once."""
        # Blank values count: the application takes the last of several, also when that one is empty.
        values = parse_qs(self.query.decode("utf-8", "replace"), keep_blank_values=True).get(name, [])
        return values[0] if len(values) == 1 else None

    def require(self, action: str, resource: str) -> None:
        """Requires a permission on a resource or type.

        Raises:
            Forbidden: With the reason.
        """
        _demand(self.tenant.policy.check(self.principal, action, resource), action, resource)

    def require_row(self, action: str, resource_type: str, row_id: UUID) -> None:
        """Requires a permission on a row; who made it has it, and rows of the platform can only be read.

        Raises:
            Forbidden: With the reason.
            Refusal: 404, there is no such row.
        """
        rows = self.tenant.rows
        table = _table(resource_type)
        row = rows.find(table, row_id)
        if row is None:
            raise Refusal(404, "KeyError", f"There is no {resource_type} with id {row_id}.")
        platform = rows.is_platform(table, row)
        owner = None if platform or row.user is None else self.tenant.principals.principal_of(row.user)
        prefix = "" if row.project is None else f"{row.project}:"
        resource = f"{prefix}{resource_type}/{row_id}"
        decision = self.tenant.policy.check(self.principal, action, resource, owner=owner, system_owned=platform)
        _demand(decision, action, resource)


def _demand(decision: Decision, action: str, resource: str) -> None:
    if not decision.allowed:
        raise Forbidden(f"Insufficient permissions to {action.upper()} resource '{resource}': {decision.reason}")


def _table(resource_type: str) -> str:
    from nagaya_tenant.rows import TABLES  # noqa: PLC0415  # imports zenml, which the route tables must not need

    return TABLES[resource_type]


def as_uuid(value: object) -> UUID | None:
    """A UUID from JSON or a path in any form that ZenML's handlers accept, else `None`."""
    if not isinstance(value, str):
        return None
    try:
        return UUID(value)
    except ValueError:
        return None


def not_of_platform(inquiry: Inquiry, table: str, value: str) -> None:
    """Refuses to change a row of the platform; ZenML would let everybody change those that belong to nobody.

    Raises:
        Forbidden: The row belongs to the platform.
    """
    row_id = as_uuid(value)
    row = None if row_id is None else inquiry.tenant.rows.find(table, row_id)
    if row is not None and inquiry.tenant.rows.is_platform(table, row):
        raise Forbidden("This belongs to the platform: members can read and use it, only the platform changes it.")


def create_tag(inquiry: Inquiry) -> None:
    """`POST /tags`: ZenML checks nothing."""
    inquiry.require("create", "tag")


def read_tags(inquiry: Inquiry) -> None:
    """`GET /tags`: ZenML checks nothing."""
    inquiry.require("read", "tag")


def read_tag(inquiry: Inquiry) -> None:
    """`GET /tags/{tag_id}`: ZenML checks nothing."""
    if (row_id := as_uuid(inquiry.params["tag_id"])) is not None:
        inquiry.require_row("read", "tag", row_id)


def tag_resources(inquiry: Inquiry) -> None:
    """`/tag_resources`: whoever tags a resource must be allowed to update it, and the platform's are not tagged."""
    links = inquiry.json()
    for link in links if isinstance(links, list) else [links]:
        if not isinstance(link, dict):
            continue
        resource_type = _TAGGED.get(str(link.get("resource_type")), str(link.get("resource_type")))
        row_id = as_uuid(link.get("resource_id"))
        if row_id is not None and inquiry.tenant.rows.has_type(resource_type):
            inquiry.require_row("update", resource_type, row_id)


def flavor_source(inquiry: Inquiry) -> None:
    """`POST/PUT /flavors`: the server imports `source`, so only ZenML's and our own modules may be named."""
    body = inquiry.json()
    if not isinstance(body, dict):
        return
    source = body.get("source")
    if source is not None and not (isinstance(source, str) and source.startswith(FLAVOR_SOURCES)):
        raise Forbidden(
            "A flavor's source must be a class of zenml or nagaya_stack: the server imports it, and it does not "
            "import code of users. Use a custom flavor in a local stack, or ask for a plugin of the platform."
        )


def own_account(inquiry: Inquiry) -> None:
    """`PUT /users/{user_name_or_id}`: with roles enforced ZenML lets every member change every account."""
    if as_uuid(inquiry.params["user_name_or_id"]) != inquiry.account:
        raise Forbidden("Members can change only their own account; name it by its id.")


def shared_row(inquiry: Inquiry) -> None:
    """`POST /users/resource_membership`: rows of the platform are readable by all members and not shared further."""
    resource_type = inquiry.query_value("resource_type")
    row_id = as_uuid(inquiry.query_value("resource_id"))
    if resource_type is None or row_id is None:
        raise BadRequest("resource_type and resource_id must be given once each.", status=422)
    if resource_type == "service_account" or not inquiry.tenant.rows.has_type(resource_type):
        raise Forbidden(f"Resources of type {resource_type} cannot be shared.")
    inquiry.require_row("share", resource_type, row_id)


def link_artifact(inquiry: Inquiry) -> None:
    """`POST /model_version_artifacts`: ZenML checks the model version, but not the artifact that the link exposes."""
    body = inquiry.json()
    artifact_version = as_uuid(body.get("artifact_version")) if isinstance(body, dict) else None
    model_version = as_uuid(body.get("model_version")) if isinstance(body, dict) else None
    if artifact_version is not None:
        read_artifact_version(inquiry, artifact_version)
    if model_version is not None:
        inquiry.require_row("update", "model_version", model_version)


def read_artifact_version(inquiry: Inquiry, artifact_version: UUID) -> None:
    """Requires to read an artifact version, which means to read its artifact or to have made the version."""
    row = inquiry.tenant.rows.find("artifact_version", artifact_version)
    if row is None or row.user == inquiry.account:
        return
    found = inquiry.tenant.rows.value("artifact_version", artifact_version, "artifact_id")
    if found is not None:
        inquiry.require_row("read", "artifact", found[0])


def link_run(inquiry: Inquiry) -> None:
    """`POST /model_version_pipeline_runs`: ZenML checks the model version, but not the run that the link exposes."""
    body = inquiry.json()
    run = as_uuid(body.get("pipeline_run")) if isinstance(body, dict) else None
    model_version = as_uuid(body.get("model_version")) if isinstance(body, dict) else None
    if run is not None:
        inquiry.require_row("read", "pipeline_run", run)
    if model_version is not None:
        inquiry.require_row("update", "model_version", model_version)


def list_links(inquiry: Inquiry) -> None:
    """`GET /model_version_artifacts` and `…_pipeline_runs`: ZenML lists the links of every project to every member.

    With one model version given, its model must be readable, and all artifacts or runs of the project, since the
    answer contains them whole. Without one, the same holds for every project.
    """
    policy, rows = inquiry.tenant.policy, inquiry.tenant.rows
    model_version = as_uuid(inquiry.query_value("model_version_id"))
    # With `logical_operator=or` any other filter would widen the list beyond the one model version.
    if model_version is None or b"logical_operator" in inquiry.query:
        row = None
    else:
        row = rows.find("model_version", model_version)
    projects = [row.project] if row is not None else list(rows.projects())
    for project in projects:
        for resource_type in ("model", "artifact", "pipeline_run"):
            decision = policy.check(inquiry.principal, "read", f"{project}:{resource_type}")
            if not decision.allowed:
                raise Forbidden(
                    "These links show models, artifacts and runs, so all of them must be readable "
                    f"(name one model_version_id of a project where they are): {decision.reason}"
                )


def steps_of_run(inquiry: Inquiry) -> None:
    """`GET /runs/{run_id}/steps`: ZenML does not mask artifacts here, so they must be readable in the project."""
    run = as_uuid(inquiry.params["run_id"])
    row = None if run is None else inquiry.tenant.rows.find("pipeline_run", run)
    if row is not None and row.user != inquiry.account:
        inquiry.require("read", f"{row.project}:artifact")


def heartbeat(inquiry: Inquiry) -> None:
    """`PUT /steps/{step_run_id}/heartbeat`: ZenML compares the run of a run's token and nothing else."""
    if (step := as_uuid(inquiry.params["step_run_id"])) is not None:
        update_step_run(inquiry, step)


def update_step_run(inquiry: Inquiry, step: UUID) -> None:
    """Requires to update the run that a step belongs to."""
    found = inquiry.tenant.rows.value("step_run", step, "pipeline_run_id")
    if found is not None:
        inquiry.require_row("update", "pipeline_run", found[0])


def create_logs(inquiry: Inquiry) -> None:
    """`POST /logs`: ZenML checks logs of runs and steps; unattached ones and those of hooks would be free for all."""
    body = inquiry.json()
    if not isinstance(body, dict):
        return
    hook = as_uuid(body.get("hook_invocation_id"))
    if hook is not None and inquiry.tenant.rows.knows("hook_invocation"):
        _update_hook(inquiry, hook)
        return
    if as_uuid(body.get("pipeline_run_id")) is None and as_uuid(body.get("step_run_id")) is None:
        project = as_uuid(body.get("project"))
        if project is None:
            raise Forbidden("Logs must name the run, step or hook invocation, or the project, that they belong to.")
        inquiry.require("create", f"{project}:pipeline_run")


def _update_hook(inquiry: Inquiry, hook: UUID) -> None:
    found = inquiry.tenant.rows.value("hook_invocation", hook, "pipeline_run_id")
    if found is not None:
        inquiry.require_row("update", "pipeline_run", found[0])


def update_logs(inquiry: Inquiry) -> None:
    """`PUT /logs/{logs_id}`: ZenML checks where logs are moved to, but not whose they are."""
    logs = as_uuid(inquiry.params["logs_id"])
    found = (
        None
        if logs is None
        else inquiry.tenant.rows.value("logs", logs, "user_id", "pipeline_run_id", "step_run_id", "hook_invocation_id")
    )
    if found is None or found[0] == inquiry.account:
        return
    _, run, step, hook = found
    if run is not None:
        inquiry.require_row("update", "pipeline_run", run)
    elif step is not None:
        update_step_run(inquiry, step)
    elif hook is not None:
        _update_hook(inquiry, hook)
    else:
        raise Forbidden("Only who made logs can attach them.")


def run_metadata(inquiry: Inquiry) -> None:
    """`POST /run-metadata`: ZenML does not check steps, nor which project the metadata are put into."""
    body = inquiry.json()
    resources = body.get("resources") if isinstance(body, dict) else None
    for resource in resources if isinstance(resources, list) else []:
        step = as_uuid(resource.get("id")) if isinstance(resource, dict) else None
        if step is not None and resource.get("type") == "step_run":
            update_step_run(inquiry, step)


def deployed_stack(inquiry: Inquiry) -> None:
    """`GET /stack-deployment/stack`: the answer has a stack, its components and a connector of whoever deployed it."""
    for resource_type in ("stack", "stack_component", "service_connector"):
        inquiry.require("read", resource_type)


def replaced_snapshot(inquiry: Inquiry) -> None:
    """Snapshots with `replace`: whoever takes the name of another snapshot must be allowed to delete that one."""
    body = inquiry.json()
    if not isinstance(body, dict) or not body.get("replace") or not isinstance(body.get("name"), str):
        return
    own = as_uuid(inquiry.params.get("snapshot_id"))
    if own is None:
        pipeline = as_uuid(body.get("pipeline"))
    else:
        found = inquiry.tenant.rows.value("pipeline_snapshot", own, "pipeline_id")
        pipeline = None if found is None else found[0]
    if pipeline is None:
        return
    replaced = inquiry.tenant.rows.named("pipeline_snapshot", body["name"], pipeline_id=pipeline)
    if replaced is not None and replaced != own:
        inquiry.require_row("delete", "pipeline_deployment", replaced)


def curate(inquiry: Inquiry) -> None:
    """`POST /curated_visualizations`: ZenML does not check the artifact whose visualization is shown."""
    body = inquiry.json()
    visualization = as_uuid(body.get("artifact_visualization_id")) if isinstance(body, dict) else None
    if visualization is None:
        return
    found = inquiry.tenant.rows.value("artifact_visualization", visualization, "artifact_version_id")
    if found is not None:
        read_artifact_version(inquiry, found[0])


def workload_token(inquiry: Inquiry) -> None:
    """`GET /api_token`: tokens of runs get further tokens for their run only."""
    if inquiry.run_scope and inquiry.query_value("token_type") != "workload":
        raise Forbidden("A run can ask for tokens of the type workload only.")
