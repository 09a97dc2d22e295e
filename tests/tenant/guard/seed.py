"""Objects of every kind in a tenant, all made by one member over the API, and a valid body for every route."""

from __future__ import annotations

import datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from nagaya_tenant import version
from nagaya_tenant.routes import routes_of

if TYPE_CHECKING:
    from world import World

NOW = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
LATER = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
_numbers = count(1)
MATERIALIZER = {
    "module": "zenml.materializers.built_in_materializer",
    "attribute": "BuiltInMaterializer",
    "type": "internal",
}
STEP = {
    "config": {"name": "step"},
    "spec": {
        "source": {"module": "zenml", "attribute": "x", "type": "internal"},
        "upstream_steps": [],
        "invocation_id": "step",
        "inputs": {},
    },
}
DATA_TYPE = {"module": "builtins", "attribute": "int", "type": "builtin"}


class Seed:
    """Ids of seeded objects by the name of the path parameter or body field that refers to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.token = world.login("owner")
        self._declared = set(routes_of(world.zenml))
        self.ids: dict[str, str] = {"project": str(world.project), "project_name_or_id": str(world.project)}
        self._make()

    def _make(self) -> None:
        ids = self.ids
        # Other tests of the session may have made stacks and components of their own before this seed.
        named = {"name": "default", "size": "100"}
        stack = self.world.request("GET", "/api/v1/stacks", self.token, query=named).json()["items"][0]
        ids["platform_stack"] = stack["id"]
        components = self.world.request("GET", "/api/v1/components", self.token, query=named).json()["items"]
        by_type = {each["body"]["type"]: each["id"] for each in components}
        ids.update(orchestrator=by_type["orchestrator"], artifact_store=by_type["artifact_store"])
        integrated = {"integration": "built-in", "size": "100"}
        flavors = self.world.request("GET", "/api/v1/flavors", self.token, query=integrated).json()["items"]
        ids["platform_flavor"] = flavors[0]["id"]
        for param, path in (
            ("secret_id", "secrets"),
            ("connector_id", "service_connectors"),
            ("component_id", "components"),
            ("stack_id", "stacks"),
            ("flavor_id", "flavors"),
            ("tag_id", "tags"),
            ("code_repository_id", "code_repositories"),
            ("pipeline_id", "pipelines"),
            ("build_id", "pipeline_builds"),
            ("snapshot_id", "pipeline_snapshots"),
            ("run_id", "runs"),
            ("step_id", "steps"),
            ("artifact_id", "artifacts"),
            ("artifact_version_id", "artifact_versions"),
            ("model_id", "models"),
            ("model_version_id", "model_versions"),
            ("schedule_id", "schedules"),
            ("logs_id", "logs"),
            ("deployment_id", "deployments"),
            ("service_id", "services"),
            ("trigger_id", "triggers"),
            ("webhook_id", "webhooks"),
            ("hook_invocation_id", "hook_invocations"),
        ):
            # What this version of ZenML has no routes for cannot be made, nor asked for.
            if ("POST", f"/api/v1/{path}") in self._declared:
                ids[param] = self._create(path)
        # A run waits for one thing at a time: what is made here leaves the seeded run free to wait.
        if ("POST", "/api/v1/run_wait_conditions") in self._declared:
            ids["run_wait_condition_id"] = self._create("run_wait_conditions", run=self._create("runs"))
        if "trigger_id" in ids:
            self._attach()
        version = self.world.request("GET", f"/api/v1/artifact_versions/{ids['artifact_version_id']}", self.token)
        shown, ids["artifact_visualization_id"] = (each["id"] for each in version.json()["metadata"]["visualizations"])
        ids["visualization_id"] = self._create("curated_visualizations", artifact_visualization_id=shown)
        ids["template_id"] = self._template()
        links = self._create("model_version_artifacts"), self._create("model_version_pipeline_runs")
        ids["model_version_artifact_link_name_or_id"], ids["model_version_pipeline_run_link_name_or_id"] = links
        ids.update(
            pipeline_run_id=ids["run_id"],
            step_run_id=ids["step_id"],
            model_name_or_id=ids["model_id"],
            workspace_name_or_id=ids["project"],
            connector_type="docker",
            webhook_type="github",
            device_id=str(uuid4()),
            resource_request_id=str(uuid4()),
            resource_pool_id=str(uuid4()),
            policy_id=str(uuid4()),
            service_account_id=str(uuid4()),
            service_account_name_or_id=str(uuid4()),
            api_key_name_or_id=str(uuid4()),
            user_name_or_id=str(self.world.parts.principals.ensure(self._owner())),
            file_path="somewhere",
            invalid_api_path="nothing",
        )

    def _template(self) -> str:
        """Templates need a build for containers, which this stack has not; the row alone is enough here."""
        made = uuid4()
        owner = self.world.parts.principals.ensure(self._owner())
        snapshot = UUID(self.ids["snapshot_id"]).hex
        values = (made.hex, NOW, NOW, f"template-{made.hex}", False, owner.hex, self.world.project.hex, snapshot)
        columns = "id, created, updated, name, hidden, user_id, project_id, source_snapshot_id"
        self.world.sql(f"INSERT INTO run_template ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)
        return str(made)

    def _owner(self) -> Any:
        return self.world.parts.policy.current().principal(self.world.members["owner"])

    def _attach(self) -> None:
        """Attaching needs something that dispatches runs, which this tenant has not; the row alone is enough here."""
        values = (UUID(self.ids["trigger_id"]).hex, UUID(self.ids["snapshot_id"]).hex, NOW)
        self.world.sql("INSERT INTO trigger_snapshot (trigger_id, snapshot_id, created_at) VALUES (?, ?, ?)", *values)

    def _create(self, path: str, **fields: str) -> str:
        body = self.body("POST", f"/api/v1/{path}") | fields
        answer = self.world.request("POST", f"/api/v1/{path}", self.token, json=body)
        assert answer.status == 200, (path, answer.status, answer.body)
        made = answer.json()
        return (made[0] if isinstance(made, list) else made)["id"]

    def path(self, template: str) -> str:
        """A path with the ids of seeded objects."""
        path = template.replace(":path}", "}")
        # The older name of a snapshot; elsewhere this parameter is a service that was deployed.
        path = path.replace("/pipeline_deployments/{deployment_id}", "/pipeline_deployments/{snapshot_id}")
        for name, value in self.ids.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path, path
        return path

    def query(self, method: str, template: str) -> dict[str, str]:
        """What a route demands in the query, and the project for lists."""
        ids = self.ids
        fixed: dict[str, dict[str, str]] = {
            "DELETE /api/v1/artifact_versions": {"project_name_or_id": ids["project"]},
            "DELETE /api/v1/schedules/{schedule_id}": {"soft": "true"},
            "GET /api/v1/supported-events": {"source_type": "pipeline"},
            "POST /api/v1/users/resource_membership": {
                "resource_type": "pipeline",
                "resource_id": ids["pipeline_id"],
                "user_id": str(uuid4()),
            },
            "GET /api/v1/webhooks/{webhook_id}/events/raw": {"delivery_id": "1"},
            "GET /api/v1/steps/{step_id}/logs": {"source": "step"},
            "GET /api/v1/runs/{run_id}/logs": {"source": "step"},
            "GET /api/v1/model_version_artifacts": {"model_version_id": ids["model_version_id"]},
            "GET /api/v1/model_version_pipeline_runs": {"model_version_id": ids["model_version_id"]},
            "GET /api/v1/api_token": {"token_type": "workload", "pipeline_run_id": ids["run_id"]},
        }
        if template.startswith("/api/v1/stack-deployment"):
            return {"provider": "aws", "stack_name": "made"}
        if template.endswith(("/data", "/code")):
            return {"token": "forged"}
        known = fixed.get(f"{method} {template}")
        return known if known is not None else {"project": ids["project"]} if method == "GET" else {}

    def body(self, method: str, template: str) -> Any:
        """A valid body, or `None`."""
        name = template.removeprefix("/api/v1/workspaces/{project_name_or_id}/")
        name = name.removeprefix("/api/v1/workspaces/{workspace_name_or_id}/").removeprefix("/api/v1/")
        if method == "PUT":
            return self._update(name)
        if method == "DELETE" and not name.startswith("tag_resources"):
            return None
        if method in {"POST", "DELETE"}:
            return self._request(name)
        return None

    def _update(self, name: str) -> Any:
        ids = self.ids
        special: dict[str, Any] = {
            "run_wait_conditions/{run_wait_condition_id}": {
                "poller_instance_id": str(uuid4()),
                "poller_lease_expires_at": LATER,
            },
            "run_wait_conditions/{run_wait_condition_id}/resolve": {"resolution": "continue"},
            "devices/{device_id}/verify": {"user_code": "x"},
            "triggers/{trigger_id}": {
                "type": "schedule",
                "name": f"trigger-{next(_numbers)}",
                "cron_expression": "1 0 * * *",
            },
            "users/{user_name_or_id}": {"default_project_id": ids["project"]},
            "secrets/{secret_id}": {"values": {"key": "other"}},
            "logs/{logs_id}": {"step_run_id": ids["step_id"]},
        }
        return special.get(name, {})

    def _request(self, name: str) -> Any:  # one body for each kind of thing
        ids, unique = self.ids, f"made-{next(_numbers)}"
        scoped = {"project": ids["project"], "name": unique}
        tag_resource = {
            "tag_id": ids.get("tag_id"),
            "resource_id": ids.get("pipeline_id"),
            "resource_type": "pipeline",
        }
        artifact_version = {
            "project": ids["project"],
            "artifact_id": ids.get("artifact_id"),
            "version": unique,
            "type": "DataArtifact",
            "uri": f"/nowhere/{unique}",
            "materializer": MATERIALIZER,
            "data_type": DATA_TYPE,
            "save_type": "manual",
            "artifact_store_id": ids.get("artifact_store"),
            "visualizations": [{"type": "html", "uri": f"/nowhere/{page}.html"} for page in ("one", "two")],
        }
        snapshot = {
            "project": ids["project"],
            "run_name_template": unique,
            "pipeline_configuration": {"name": "pipeline"},
            "step_configurations": {"step": STEP},
            "stack": ids.get("stack_id"),
            "pipeline": ids.get("pipeline_id"),
            "is_dynamic": True,
            "client_version": version.installed(),
            "server_version": version.installed(),
        }
        connector = {
            "name": unique,
            "connector_type": "docker",
            "auth_method": "password",
            "resource_types": ["docker-registry"],
            "configuration": {"username": "somebody", "password": "hidden-in-connector", "registry": "docker.io"},
        }
        bodies: dict[str, Any] = {
            "secrets": {"name": unique, "values": {"key": "hidden-in-secret"}},
            "service_connectors": connector,
            "service_connectors/verify": connector,
            "service_connectors/full_stack_resources": {
                "type": "aws",
                "auth_method": "secret-key",
                "configuration": {},
            },
            "components": {"name": unique, "type": "orchestrator", "flavor": "local", "configuration": {}},
            "stacks": {
                "name": unique,
                "components": {
                    "orchestrator": [ids.get("orchestrator")],
                    "artifact_store": [ids.get("artifact_store")],
                },
            },
            "flavors": {
                "name": unique,
                "type": "orchestrator",
                "config_schema": {},
                "source": "zenml.orchestrators.local.local_orchestrator.LocalOrchestratorFlavor",
                "integration": "built-in",
            },
            "tags": {"name": unique},
            "tag_resources": tag_resource,
            "tag_resources/batch": [tag_resource],
            "code_repositories": {
                **scoped,
                "config": {},
                "source": {"module": "zenml.code_repositories", "attribute": "X", "type": "internal"},
            },
            "pipelines": scoped,
            "pipeline_builds": {"project": ids["project"], "is_local": True, "contains_code": False},
            "pipeline_deployments": snapshot,
            "pipeline_snapshots": snapshot,
            "pipeline_snapshots/prune": {"project": ids["project"], "older_than": NOW},
            "runs": {
                **scoped,
                "snapshot": ids.get("snapshot_id"),
                "pipeline": ids.get("pipeline_id"),
                "status": "running",
            },
            "runs/statistics": {"filter": {"project": ids["project"]}, "aggregations": [], "metrics": []},
            "runs/{pipeline_run_id}/events": {"events": []},
            "steps": {
                **scoped,
                "start_time": NOW,
                "status": "running",
                "pipeline_run_id": ids.get("run_id"),
                "dynamic_config": STEP,
            },
            "artifacts": {**scoped, "has_custom_name": True},
            "artifact_versions": artifact_version,
            "artifact_versions/batch": [artifact_version],
            "models": scoped,
            "model_versions": {**scoped, "model": ids.get("model_id")},
            "models/{model_id}/model_versions": {**scoped, "model": ids.get("model_id")},
            "model_version_artifacts": {
                "model_version": ids.get("model_version_id"),
                "artifact_version": ids.get("artifact_version_id"),
            },
            "model_version_pipeline_runs": {
                "model_version": ids.get("model_version_id"),
                "pipeline_run": ids.get("run_id"),
            },
            "run_templates": {**scoped, "source_snapshot_id": ids.get("snapshot_id")},
            "schedules": {
                **scoped,
                "active": True,
                "cron_expression": "0 0 * * *",
                "orchestrator_id": ids.get("component_id"),
                "pipeline_id": ids.get("pipeline_id"),
            },
            "logs": {
                "id": str(uuid4()),
                "project": ids["project"],
                "source": "step",
                "uri": f"/nowhere/{unique}.log",
                "artifact_store_id": ids.get("artifact_store"),
                "step_run_id": ids.get("step_id"),
            },
            "run-metadata": {
                "project": ids["project"],
                "resources": [{"id": ids.get("step_id"), "type": "step_run"}],
                "values": {unique: 1},
                "types": {unique: "int"},
            },
            "deployments": {**scoped, "snapshot_id": ids.get("snapshot_id"), "deployer_id": ids.get("component_id")},
            "services": {
                **scoped,
                "service_type": {"type": "model-serving", "flavor": "local"},
                "config": {"name": unique},
            },
            "triggers": {
                **scoped,
                "type": "schedule",
                "active": True,
                "cron_expression": "0 0 * * *",
                "concurrency": "skip",
            },
            "webhooks": {**scoped, "webhook_type": "github"},
            "hook_invocations": {
                "project": ids["project"],
                "hook_type": "run_success",
                "status": "completed",
                "start_time": NOW,
                "pipeline_run_id": ids.get("run_id"),
            },
            "run_wait_conditions": {**scoped, "run": ids.get("run_id"), "type": "external_input"},
            "curated_visualizations": {
                "project": ids["project"],
                "artifact_visualization_id": ids.get("artifact_visualization_id"),
                "resource_id": ids.get("pipeline_id"),
                "resource_type": "pipeline",
            },
            "projects": {"name": unique},
            "workspaces": {"name": unique},
            "service_accounts": {"name": unique, "active": True},
            "service_accounts/{service_account_id}/api_keys": {"name": unique},
            "resource_requests/{resource_request_id}/renew": {"lease_expires_at": LATER},
            "users/resource_membership": ["read"],
        }
        return bodies.get(name)
