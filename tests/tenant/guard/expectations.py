"""What each route of ZenML must demand, by version, written by hand and without looking at the guard's own table.

A line is `METHOD path: demand …`, the path relative to `/api/v1` unless it starts with `//`. Demands:
`public` anybody; `member` any member; `refused` nobody; `type:action` that permission, in the seeded project if the
type belongs to one, on an object that somebody else made; `lists type` any member, but objects of others only with
`type:read`. `run` at the end: tokens of runs may use it too.
"""

from __future__ import annotations

from typing import NamedTuple

_TABLE = """
GET //health: public run
HEAD //health: public run
GET //ready: public run
HEAD //ready: public run
GET //: public run
GET //{file_path:path}: public run
GET //api/{invalid_api_path:path}: public run
GET //openapi.json: public run
HEAD //openapi.json: public run
GET //docs: public run
HEAD //docs: public run
GET //docs/oauth2-redirect: refused
HEAD //docs/oauth2-redirect: refused
GET //redoc: refused
HEAD //redoc: refused
GET /version: public run
GET /info: public run
GET /supported-events: public run
GET /logout: public run
POST /login: public run
POST /device_authorization: refused
GET /api_token: pipeline_run:read pipeline_run:create run
GET /load-info: member
GET /onboarding_state: member
GET /statistics: member
GET /current-user: member run
GET /users: member
GET /users/{user_name_or_id}: member
PUT /users/{user_name_or_id}: refused
POST /users/resource_membership: pipeline:share pipeline:read
GET /devices: refused
GET /devices/{device_id}: refused
PUT /devices/{device_id}: refused
PUT /devices/{device_id}/verify: refused
DELETE /devices/{device_id}: refused
GET /service_accounts: lists service_account
GET /service_accounts/{service_account_name_or_id}: service_account:read
POST /service_accounts: refused
PUT /service_accounts/{service_account_name_or_id}: refused
DELETE /service_accounts/{service_account_name_or_id}: refused
GET /service_accounts/{service_account_id}/api_keys: service_account:read
GET /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}: service_account:read
POST /service_accounts/{service_account_id}/api_keys: refused
PUT /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}: refused
PUT /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}/rotate: refused
DELETE /service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}: refused
GET /resource_requests: refused
GET /resource_requests/{resource_request_id}: refused
POST /resource_requests/{resource_request_id}/renew: refused
POST /resource_requests/{resource_request_id}/release: refused
GET /stacks: lists stack run
POST /stacks: stack:create
GET /stacks/{stack_id}: stack:read run
PUT /stacks/{stack_id}: stack:update
DELETE /stacks/{stack_id}: stack:delete
GET /components: lists stack_component run
POST /components: stack_component:create
GET /components/{component_id}: stack_component:read run
PUT /components/{component_id}: stack_component:update
DELETE /components/{component_id}: stack_component:delete
GET /component-types: member run
GET /flavors: lists flavor run
POST /flavors: flavor:create
GET /flavors/{flavor_id}: flavor:read run
PUT /flavors/{flavor_id}: flavor:update
DELETE /flavors/{flavor_id}: flavor:delete
PATCH /flavors/sync: flavor:update
GET /service_connectors: lists service_connector run
POST /service_connectors: service_connector:create
GET /service_connectors/resources: lists service_connector run
POST /service_connectors/verify: service_connector:create
GET /service_connectors/{connector_id}: service_connector:read run
PUT /service_connectors/{connector_id}: service_connector:update
DELETE /service_connectors/{connector_id}: service_connector:delete
PUT /service_connectors/{connector_id}/verify: service_connector:read run
GET /service_connectors/{connector_id}/client: service_connector:read service_connector:client run
POST /service_connectors/full_stack_resources: service_connector:create
GET /service_connector_types: member run
GET /service_connector_types/{connector_type}: member run
GET /secrets: lists secret run
POST /secrets: secret:create
GET /secrets/{secret_id}: secret:read run
PUT /secrets/{secret_id}: secret:update
DELETE /secrets/{secret_id}: secret:delete
PUT /secrets_operations/backup: secret:backup_restore
PUT /secrets_operations/restore: secret:backup_restore
GET /stack-deployment/info: member
GET /stack-deployment/config: service_connector:create stack_component:create stack:create
GET /stack-deployment/stack: member
GET /pipelines: lists pipeline run
POST /pipelines: pipeline:create run
GET /pipelines/{pipeline_id}: pipeline:read run
PUT /pipelines/{pipeline_id}: pipeline:update
DELETE /pipelines/{pipeline_id}: pipeline:delete
GET /pipeline_builds: lists pipeline_build run
POST /pipeline_builds: pipeline_build:create run
GET /pipeline_builds/{build_id}: pipeline_build:read run
DELETE /pipeline_builds/{build_id}: pipeline_build:delete
GET /pipeline_deployments: lists pipeline_deployment run
POST /pipeline_deployments: pipeline_deployment:create run
GET /pipeline_deployments/{deployment_id}: pipeline_deployment:read run
DELETE /pipeline_deployments/{deployment_id}: pipeline_deployment:delete
GET /pipeline_snapshots: lists pipeline_deployment run
POST /pipeline_snapshots: pipeline_deployment:create run
GET /pipeline_snapshots/{snapshot_id}: pipeline_deployment:read run
PUT /pipeline_snapshots/{snapshot_id}: pipeline_deployment:update
DELETE /pipeline_snapshots/{snapshot_id}: pipeline_deployment:delete
POST /pipeline_snapshots/prune: pipeline_deployment:prune
GET /pipeline_snapshots/{snapshot_id}/download-token: pipeline_deployment:read run
GET /pipeline_snapshots/{snapshot_id}/code: refused
GET /runs: lists pipeline_run run
POST /runs: pipeline_run:create run
POST /runs/statistics: member
GET /runs/{run_id}: pipeline_run:read run
PUT /runs/{run_id}: pipeline_run:update run
DELETE /runs/{run_id}: pipeline_run:delete
GET /runs/{run_id}/steps: pipeline_run:read artifact:read run
GET /runs/{run_id}/pipeline-configuration: pipeline_run:read run
GET /runs/{run_id}/status: pipeline_run:read run
GET /runs/{run_id}/dag: pipeline_run:read run
POST /runs/{run_id}/refresh: pipeline_run:read run
POST /runs/{run_id}/stop: pipeline_run:read pipeline_run:update run
GET /runs/{run_id}/logs: pipeline_run:read run
PUT /runs/{run_id}/disable_heartbeat: pipeline_run:read pipeline_run:update run
POST /runs/{pipeline_run_id}/events: pipeline_run:update run
GET /runs/{pipeline_run_id}/events/stream: pipeline_run:read run
GET /steps: lists pipeline_run run
POST /steps: pipeline_run:update run
GET /steps/{step_id}: pipeline_run:read run
PUT /steps/{step_id}: pipeline_run:update run
PUT /steps/{step_run_id}/heartbeat: pipeline_run:update run
GET /steps/{step_id}/step-configuration: pipeline_run:read run
GET /steps/{step_id}/status: pipeline_run:read run
GET /steps/{step_id}/logs: pipeline_run:read run
POST /run-metadata: run_metadata:create pipeline_run:update run
GET /run_wait_conditions: lists pipeline_run run
POST /run_wait_conditions: pipeline_run:update run
GET /run_wait_conditions/{run_wait_condition_id}: pipeline_run:read run
PUT /run_wait_conditions/{run_wait_condition_id}: pipeline_run:update run
PUT /run_wait_conditions/{run_wait_condition_id}/resolve: pipeline_run:update
GET /run_templates: lists run_template run
POST /run_templates: run_template:create
GET /run_templates/{template_id}: run_template:read run
PUT /run_templates/{template_id}: run_template:update
DELETE /run_templates/{template_id}: run_template:delete
GET /schedules: lists schedule run
POST /schedules: schedule:create
GET /schedules/{schedule_id}: schedule:read run
PUT /schedules/{schedule_id}: schedule:update
DELETE /schedules/{schedule_id}: schedule:delete
GET /hook_invocations: lists pipeline_run run
POST /hook_invocations: pipeline_run:update run
GET /hook_invocations/{hook_invocation_id}: pipeline_run:read run
DELETE /hook_invocations/{hook_invocation_id}: pipeline_run:update
POST /logs: pipeline_run:update run
GET /logs/{logs_id}: pipeline_run:read run
GET /logs/{logs_id}/entries: pipeline_run:read run
PUT /logs/{logs_id}: pipeline_run:update run
GET /artifacts: lists artifact run
POST /artifacts: artifact:create run
GET /artifacts/{artifact_id}: artifact:read run
PUT /artifacts/{artifact_id}: artifact:update run
DELETE /artifacts/{artifact_id}: artifact:delete
GET /artifact_versions: lists artifact run
POST /artifact_versions: artifact_version:create run
POST /artifact_versions/batch: artifact_version:create run
DELETE /artifact_versions: artifact_version:prune
GET /artifact_versions/{artifact_version_id}: artifact:read run
PUT /artifact_versions/{artifact_version_id}: artifact_version:update run
DELETE /artifact_versions/{artifact_version_id}: artifact_version:delete
GET /artifact_versions/{artifact_version_id}/visualize: artifact:read run
GET /artifact_versions/{artifact_version_id}/download-token: artifact:read run
GET /artifact_versions/{artifact_version_id}/data: refused
GET /models: lists model run
POST /models: model:create run
GET /models/{model_id}: model:read run
PUT /models/{model_id}: model:update run
DELETE /models/{model_id}: model:delete
GET /models/{model_name_or_id}/model_versions: lists model run
GET /model_versions: lists model run
POST /model_versions: model_version:create run
GET /model_versions/{model_version_id}: model:read run
PUT /model_versions/{model_version_id}: model_version:update run
DELETE /model_versions/{model_version_id}: model_version:delete
DELETE /model_versions/{model_version_id}/artifacts: model_version:update
DELETE /model_versions/{model_version_id}/artifacts/{model_version_artifact_link_name_or_id}: model_version:update
DELETE /model_versions/{model_version_id}/runs/{model_version_pipeline_run_link_name_or_id}: model_version:update
GET /model_version_artifacts: model:read artifact:read run
POST /model_version_artifacts: model_version:update artifact:read run
GET /model_version_pipeline_runs: model:read pipeline_run:read run
POST /model_version_pipeline_runs: model_version:update pipeline_run:read run
GET /tags: lists tag run
POST /tags: tag:create run
GET /tags/{tag_id}: tag:read run
PUT /tags/{tag_id}: tag:update
DELETE /tags/{tag_id}: tag:delete
POST /tag_resources: pipeline:update run
POST /tag_resources/batch: pipeline:update run
DELETE /tag_resources: pipeline:update run
DELETE /tag_resources/batch: pipeline:update run
POST /curated_visualizations: pipeline:update artifact:read run
GET /curated_visualizations/{visualization_id}: pipeline:read run
PUT /curated_visualizations/{visualization_id}: pipeline:update
DELETE /curated_visualizations/{visualization_id}: pipeline:update
GET /projects: lists project run
POST /projects: project:create
GET /projects/{project_name_or_id}: project:read run
PUT /projects/{project_name_or_id}: project:update
DELETE /projects/{project_name_or_id}: project:delete
GET /projects/{project_name_or_id}/statistics: project:read
GET /code_repositories: lists code_repository run
POST /code_repositories: code_repository:create
GET /code_repositories/{code_repository_id}: code_repository:read run
PUT /code_repositories/{code_repository_id}: code_repository:update
DELETE /code_repositories/{code_repository_id}: code_repository:delete
GET /deployments: lists deployment run
POST /deployments: deployment:create
GET /deployments/{deployment_id}: deployment:read run
PUT /deployments/{deployment_id}: deployment:update run
DELETE /deployments/{deployment_id}: deployment:delete
GET /services: lists service run
POST /services: service:create run
GET /services/{service_id}: service:read run
PUT /services/{service_id}: service:update run
DELETE /services/{service_id}: service:delete
GET /triggers: lists trigger
POST /triggers: trigger:create
GET /triggers/{trigger_id}: trigger:read
PUT /triggers/{trigger_id}: trigger:update
DELETE /triggers/{trigger_id}: trigger:delete
PUT /triggers/{trigger_id}/pipeline_snapshots/{snapshot_id}: trigger:update pipeline_deployment:read pipeline_run:create
DELETE /triggers/{trigger_id}/pipeline_snapshots/{snapshot_id}: trigger:update pipeline_deployment:read
DELETE /triggers/{trigger_id}/dispatch_state: trigger:update
GET /webhooks: lists webhook
POST /webhooks: webhook:create
GET /webhooks/{webhook_id}: webhook:read
GET /webhooks/{webhook_id}/events/raw: webhook:read
PUT /webhooks/{webhook_id}: webhook:update
DELETE /webhooks/{webhook_id}: webhook:delete
PUT /webhooks/{webhook_id}/secret: webhook:update
POST /webhooks/{webhook_type}/{webhook_id}/events: refused
"""

# Against 0.98.0: what is not in 0.94.6, and what is there only or must be demanded differently.
_NOT_IN_0_94_6 = """
GET /hook_invocations
POST /hook_invocations
GET /hook_invocations/{hook_invocation_id}
DELETE /hook_invocations/{hook_invocation_id}
GET /logs/{logs_id}/entries
POST /pipeline_snapshots/prune
POST /resource_requests/{resource_request_id}/renew
POST /resource_requests/{resource_request_id}/release
GET /webhooks
POST /webhooks
GET /webhooks/{webhook_id}
GET /webhooks/{webhook_id}/events/raw
PUT /webhooks/{webhook_id}
DELETE /webhooks/{webhook_id}
PUT /webhooks/{webhook_id}/secret
POST /webhooks/{webhook_type}/{webhook_id}/events
"""
_ONLY_IN_0_94_6 = """
GET /resource_pools: refused
POST /resource_pools: refused
GET /resource_pools/{resource_pool_id}: refused
PUT /resource_pools/{resource_pool_id}: refused
DELETE /resource_pools/{resource_pool_id}: refused
GET /resource_pool_subject_policies: refused
POST /resource_pool_subject_policies: refused
GET /resource_pool_subject_policies/{policy_id}: refused
PUT /resource_pool_subject_policies/{policy_id}: refused
DELETE /resource_pool_subject_policies/{policy_id}: refused
DELETE /resource_requests/{resource_request_id}: refused
GET /stack-deployment/stack: stack:read stack_component:read service_connector:read
"""
_TABLES = {"0.98.0": ("", ""), "0.94.6": (_NOT_IN_0_94_6, _ONLY_IN_0_94_6)}

_SAME_AS_WITHOUT_PROJECT = (
    "GET POST code_repositories, POST models, POST models/{model_id}/model_versions, GET POST pipeline_builds, "
    "GET POST pipeline_deployments, GET POST pipelines, POST run-metadata, GET POST run_templates, GET POST runs, "
    "GET POST schedules, GET POST service_connectors, POST services, GET POST components, GET POST stacks"
)


class Demand(NamedTuple):
    """What a route demands."""

    kind: str
    permissions: tuple[str, ...]
    run: bool


def demands(version: str) -> dict[tuple[str, str], Demand]:
    """The table of a version."""
    absent, others = _TABLES[version]
    table = _parsed(_TABLE)
    for line in absent.split("\n"):
        if line:
            del table[_address(line)]
    return _with_workspaces(table | _parsed(others))


def _address(text: str) -> tuple[str, str]:
    method, _, path = text.partition(" ")
    return method, path[1:] if path.startswith("//") else "/api/v1" + path


def _parsed(text: str) -> dict[tuple[str, str], Demand]:
    table: dict[tuple[str, str], Demand] = {}
    for line in text.strip().splitlines():
        address, _, words = line.partition(": ")
        demanded = words.split()
        run = demanded[-1] == "run"
        demanded = demanded[:-1] if run else demanded
        kind = demanded[0] if demanded[0] in {"public", "member", "refused", "lists"} else "permissions"
        permissions = tuple(f"{each}:read" for each in demanded[1:]) if kind == "lists" else tuple(demanded)
        table[_address(address)] = Demand(kind, permissions if kind in {"lists", "permissions"} else (), run)
    return table


def _with_workspaces(table: dict[tuple[str, str], Demand]) -> dict[tuple[str, str], Demand]:
    """The table with the deprecated routes, which demand what their newer forms do."""
    base = "/api/v1/workspaces"
    for (method, path), demand in list(table.items()):
        if path.startswith("/api/v1/projects"):
            table[method, base + path.removeprefix("/api/v1/projects")] = demand
    for group in _SAME_AS_WITHOUT_PROJECT.split(", "):
        *methods, name = group.split()
        plain = "model_versions" if name.endswith("model_versions") else name
        for method in methods:
            table[method, f"{base}/{{project_name_or_id}}/{name}"] = table[method, f"/api/v1/{plain}"]
    table["GET", base + "/{project_name_or_id}/resources"] = table["GET", "/api/v1/service_connectors/resources"]
    table["POST", base + "/{workspace_name_or_id}/secrets"] = table["POST", "/api/v1/secrets"]
    return table
