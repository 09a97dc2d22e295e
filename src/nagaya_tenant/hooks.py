"""Ties ZenML's application to this platform; the same after a fork and in a plain start, always before the lifespan."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nagaya_tenant import dehydration, version

if TYPE_CHECKING:
    from nagaya_tenant.settings import TenantSettings

RBAC_SOURCE = "nagaya_tenant.rbac.NagayaRBAC"
FEATURE_GATE_SOURCE = "nagaya_tenant.feature_gate.NagayaFeatureGate"
WORKSPACE_STATUS = "/workspace_status"


class HookError(RuntimeError):
    """A place where this platform hooks into ZenML does not exist in the installed version."""


class LocalCloudConnection:
    """Stands where ZenML keeps its connection to a control plane, and never uses the network.

    In cloud mode the lifespan reports to `PATCH /workspace_status` and exits if that fails (`zen_server_api.lifespan`);
    the keeper learns the same from the readiness pipe. Access decisions and feature limits go to our own classes, so
    any other call means that the engine gained one that this platform does not know.
    """

    def request(self, method: str, endpoint: str, params: Any = None, data: Any = None) -> None:
        """Accepts the status report.

        Raises:
            RuntimeError: For any other call.
        """
        del params, data
        if (method, endpoint) != ("PATCH", WORKSPACE_STATUS):
            raise RuntimeError(f"ZenML asked for {method} {endpoint} of a control plane; tenants have none to ask.")

    def get(self, endpoint: str, params: Any = None) -> None:
        """Refuses with RuntimeError."""
        self.request("GET", endpoint, params)

    def post(self, endpoint: str, params: Any = None, data: Any = None) -> None:
        """Refuses with RuntimeError."""
        self.request("POST", endpoint, params, data)

    def patch(self, endpoint: str, params: Any = None, data: Any = None) -> None:
        """Accepts the status report, refuses anything else with RuntimeError."""
        self.request("PATCH", endpoint, params, data)

    def delete(self, endpoint: str, params: Any = None, data: Any = None) -> None:
        """Refuses with RuntimeError."""
        self.request("DELETE", endpoint, params, data)


def import_engine() -> None:
    """Imports ZenML's server, which takes its profile from `os.environ` as it is then; 5 to 7 s."""
    importlib.import_module("zenml.zen_server.zen_server_api")


def apply_process_wide() -> None:
    """Sets what holds for any process: the dialect that forks share, and no download of the public-suffix list.

    ZenML asks tldextract at the first login that carries an Origin header; on a closed network that hangs.
    """
    import tldextract.tldextract as module  # noqa: PLC0415 - only in an engine

    from nagaya_tenant import dialect  # noqa: PLC0415 - imports SQLAlchemy

    dialect.register()
    _require(module, "TLD_EXTRACTOR", "TLDExtract")
    module.TLD_EXTRACTOR = module.TLDExtract(suffix_list_urls=(), cache_dir=None)


def apply(settings: TenantSettings) -> Any:
    """Gives ZenML's application the tenant's configuration.

    `os.environ` must be the tenant's. ZenML's cloud mode overwrites what the environment says about RBAC and feature
    gate (`ServerConfiguration.get_server_config`), which is why they are set on the object.

    Returns:
        ZenML's FastAPI application.

    Raises:
        HookError: If ZenML lacks one of the places.
    """
    from zenml.zen_server import cloud_utils, utils, zen_server_api  # noqa: PLC0415 - only in an engine
    from zenml.zen_server.rbac import utils as rbac_utils  # noqa: PLC0415
    from zenml.zen_server.routers import stack_deployment_endpoints  # noqa: PLC0415 - only in an engine

    from nagaya_tenant.guard_tokens import follow_session  # noqa: PLC0415 - imports ZenML

    _require(cloud_utils, "_cloud_connection", "cloud_connection")
    _require(utils, "server_config")
    _require(zen_server_api, "app", "DASHBOARD_REDIRECT_URL")
    _require(stack_deployment_endpoints, "generate_access_token")
    config = utils.server_config()
    _require(config, "rbac_implementation_source", "feature_gate_implementation_source")
    config.rbac_implementation_source = RBAC_SOURCE
    config.feature_gate_implementation_source = FEATURE_GATE_SOURCE
    _require(rbac_utils, "dehydrate_page", "dehydrate_response_model_batch", "get_auth_context")
    if "dehydrate_response_model_batch" not in rbac_utils.dehydrate_page.__code__.co_names:
        raise HookError("ZenML's dehydrate_page does not use dehydrate_response_model_batch, which this platform sets.")
    dehydration.install(rbac_utils)
    engine = version.installed()
    if version.has_part(engine, "amendments"):
        version.part(engine, "amendments").apply()
    vars(cloud_utils)["_cloud_connection"] = LocalCloudConnection()
    vars(stack_deployment_endpoints)["generate_access_token"] = follow_session
    zen_server_api.DASHBOARD_REDIRECT_URL = config.dashboard_url
    app = zen_server_api.app
    app.root_path = settings.root_path
    _configure_middleware(app, config)
    return app


def _configure_middleware(app: Any, config: Any) -> None:
    """Repeats `zenml.zen_server.middleware.add_middlewares`, which took its values when ZenML was imported."""
    values = {
        "CORSMiddleware": {"allow_origins": config.cors_allow_origins or []},
        "RequestBodyLimit": {"max_bytes": config.max_request_body_size_in_bytes},
    }
    for middleware in app.user_middleware:
        wanted = values.pop(middleware.cls.__name__, {})
        if not wanted.keys() <= middleware.kwargs.keys():
            raise HookError(f"ZenML's {middleware.cls.__name__} has no {', '.join(wanted)}.")
        middleware.kwargs.update(wanted)
    if values:
        raise HookError(f"ZenML's application has no {', '.join(values)}.")
    # Starlette builds the stack at the first call.
    app.middleware_stack = None


def _require(owner: Any, *names: str) -> None:
    for name in names:
        if not hasattr(owner, name):
            where = getattr(owner, "__name__", type(owner).__name__)
            raise HookError(f"The installed ZenML has no {where}.{name}, which this platform sets.")
