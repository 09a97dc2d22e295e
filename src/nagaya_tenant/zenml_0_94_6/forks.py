"""What a fork of ZenML 0.94.6 must forget."""

from __future__ import annotations

import asyncio

from nagaya_tenant.reset_table import ResetTable, long_ago, now, own_process

_UTILS = "zenml.zen_server.utils"
_MIDDLEWARE = "zenml.zen_server.middleware"

TABLE = ResetTable(
    emptied={
        _UTILS: (
            "_zen_store",
            "_rbac",
            "_feature_gate",
            "_workload_manager",
            "_resource_pool_store",
            "_snapshot_executor",
            "_request_manager",
            "_stream_broker",
            "_stream_broadcaster",
            "_stream_end_handler",
            "_server_config",
            "event_loop_lag_monitor_task",
        ),
        "zenml.zen_server.secure_headers": ("_secure_headers",),
        "zenml.zen_server.cloud_utils": ("_cloud_connection",),
    },
    renewed={
        _UTILS: {"process": own_process},
        _MIDDLEWARE: {
            "active_requests_count": int,
            "active_requests_lock": asyncio.Lock,
            "last_user_activity": now,
            "last_user_activity_reported": long_ago,
            "last_user_activity_lock": asyncio.Lock,
        },
    },
    singletons=(
        ("zenml.config.global_config", "GlobalConfiguration", "_reset_instance"),
        ("zenml.client", "Client", "_reset_instance"),
    ),
    metaclass=("zenml.utils.singleton", "SingletonMetaClass", "_clear"),
    evicted=("zenml.zen_server.feature_gate.zenml_cloud_feature_gate",),
    forbidden=(
        ("sqlalchemy.engine", "Engine"),
        ("zenml.zen_stores.sql_zen_store", "SqlZenStore"),
        ("zenml.config.global_config", "GlobalConfiguration"),
        ("zenml.config.server_config", "ServerConfiguration"),
        ("zenml.config.server_config", "ServerProConfiguration"),
        ("zenml.models", "UserResponse"),
        ("nagaya_tenant.settings", "TenantSettings"),
    ),
)
