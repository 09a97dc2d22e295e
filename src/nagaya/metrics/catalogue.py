"""Every metric of the platform: name, kind, meaning, and the values that its labels can have.

Labels are enumerated, so that the number of series is known before the first request and nothing that a user wrote can
become one. `OPEN` labels have as many values as the operator has made: engines, and tenants where that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
OTHER = "other"
"""What a value that is not enumerated is counted as, so that a mistake here loses no count."""
OPEN: tuple[str, ...] = ()

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
START_SECONDS = (0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
"""Classes of HTTP status codes; `none`: the client left before an answer."""
ROUTES = ("api", "tenant", "gateway")
"""Where a request went: `gateway` is what it answers without asking anybody."""
REFUSALS = (
    "BadGateway", "BadRequest", "ContentTooLarge", "CredentialsNotValid", "ExpectationFailed", "GatewayTimeout",
    "HeadersTooLarge", "IllegalOperationError",
    "InternalError", "KeyError", "MisdirectedRequest", "NotImplementedError", "RateLimitExceeded", "RequestTimeout",
    "ServiceUnavailable", "TooManyConnections", "TooManyRequests",
)  # fmt: skip
"""The codes of errors that the gateway makes itself."""
WAKE_OUTCOMES = ("awake", "deactivated", "failed", "deleted", "unknown", "busy", "timeout", "unreachable")
"""How a wake ended: `awake`, or the keeper's error code."""
SPAWN_PHASES = ("queue", "prepare", "zygote", "fork", "ready", "total")
SPAWN_OUTCOMES = ("zygote", "plain", "failed", "timeout", "refused", "interrupted")
"""How a start ended: by which way it succeeded, or why it did not."""
TENANT_STATES = ("stopped", "asleep", "starting", "awake", "stopping", "failed", "deleted")
ENGINE_STATES = ("idle", "starting", "ready", "plain", "failed")
SLEEP_OUTCOMES = ("asleep", "refused", "busy")
PROCESSES = ("supervisor", "keeper", "api", "gateway")
APPLICATIONS = ("api", "internal", "channel")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CHANNEL_EVENTS = ("audit.intent", "audit.outcome", "usage", "resources_deleted")
OPERATION_KINDS = ("create", "enroll", "deploy", "restore", "deactivate", "delete")
OPERATION_STATUSES = ("pending", "running", "succeeded", "failed", "cancelled")
ENDED_STATUSES = ("succeeded", "failed", "cancelled")
DATABASES = ("sqlite", "postgresql")
DATABASE_ERRORS = ("disconnected", "locked", "integrity", "timeout", OTHER)
POOL_STATES = ("in_use", "idle")


@dataclass(frozen=True)
class Family:
    """One metric. `labels` maps a name to its possible values; `buckets` are upper bounds of a histogram, seconds."""

    name: str
    kind: Kind
    help: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def enumerated(self) -> bool:
        """Whether every label has a known set of values, so that all series exist from the start."""
        return all(values is not OPEN for values in self.labels.values())


def _histogram(name: str, text: str, labels: dict[str, tuple[str, ...]], buckets: tuple[float, ...]) -> Family:
    return Family(name, "histogram", text, labels, buckets)


GATEWAY = (
    _histogram(
        "nagaya_gateway_request_seconds",
        "Time from a request's head to the end of its answer.",
        {"route": ROUTES, "status": STATUSES},
        REQUEST_SECONDS,
    ),
    Family(
        "nagaya_gateway_refusals_total",
        "counter",
        "Errors that the gateway answered itself, by code.",
        {"reason": REFUSALS},
    ),
    Family("nagaya_gateway_connections", "gauge", "Open connections of clients."),
    Family("nagaya_gateway_requests_in_flight", "gauge", "Requests that are let through at this moment.",
           {"route": ("api", "tenant")}),
    Family("nagaya_gateway_requests_waiting", "gauge", "Requests that wait for a place.", {"route": ("api", "tenant")}),
    _histogram(
        "nagaya_gateway_wait_seconds",
        "Time that requests had to wait for a place, if they had to.",
        {"route": ("api", "tenant")},
        REQUEST_SECONDS,
    ),
    Family("nagaya_gateway_upstream_connections", "gauge", "Connections to api and tenants.", {"state": POOL_STATES}),
    Family("nagaya_gateway_upstream_connects_total", "counter", "New connections to api and tenants.",
           {"outcome": ("connected", "refused")}),
    _histogram(
        "nagaya_gateway_wake_seconds",
        "Time that the gateway waited for the keeper to wake a tenant, by how that ended.",
        {"outcome": WAKE_OUTCOMES},
        START_SECONDS,
    ),
    Family("nagaya_gateway_keeper_connected", "gauge", "Whether the gateway has a connection to the keeper."),
    Family(
        "nagaya_tenant_requests_total",
        "counter",
        "Requests to each tenant; only with NAGAYA_METRICS_TENANTS.",
        {"tenant": OPEN, "status": STATUSES},
    ),
)  # fmt: skip
KEEPER = (
    Family("nagaya_tenants", "gauge", "Tenants by state.", {"state": TENANT_STATES}),
    _histogram(
        "nagaya_spawn_seconds", "Time to start a tenant's process, by phase.", {"phase": SPAWN_PHASES}, START_SECONDS
    ),
    Family("nagaya_spawns_total", "counter", "Starts of tenants' processes, by how they ended.",
           {"outcome": SPAWN_OUTCOMES}),
    Family("nagaya_tenant_crashes_total", "counter", "Tenants' processes that ended without being told to."),
    Family("nagaya_sleeps_total", "counter",
           "Attempts to put an idle tenant to sleep: `refused` by a gateway, or `busy` by then.",
           {"outcome": SLEEP_OUTCOMES}),
    Family("nagaya_wake_slots", "gauge", "Starts under way, and starts that wait for their turn.",
           {"state": ("running", "waiting")}),
    Family("nagaya_engine_state", "gauge", "1 for the state that an installed engine is in.",
           {"engine": OPEN, "state": ENGINE_STATES}),
    Family("nagaya_tenants_memory_bytes", "gauge", "Resident memory of the tenants' processes; shared pages in each."),
    Family("nagaya_tenants_cpu_seconds", "gauge", "Processor time of the tenants' processes that live now."),
)  # fmt: skip
API = (
    _histogram(
        "nagaya_api_request_seconds",
        "Time to answer a request, by application (`internal`: the gateway's, `channel`: the tenants') and status.",
        {"application": APPLICATIONS, "status": STATUSES},
        REQUEST_SECONDS,
    ),
    Family("nagaya_api_requests_total", "counter", "Requests by method and class of status.",
           {"application": APPLICATIONS, "method": METHODS, "status": STATUSES}),
    Family("nagaya_operations", "gauge", "Operations in the database, by kind and status.",
           {"kind": OPERATION_KINDS, "status": OPERATION_STATUSES}),
    _histogram(
        "nagaya_operation_seconds",
        "Time from the request of an operation to its end.",
        {"kind": OPERATION_KINDS, "status": ENDED_STATUSES},
        LONG_SECONDS,
    ),
    Family("nagaya_channel_streams", "gauge", "Tenants that are connected and hear of changes of policy at once."),
    Family("nagaya_channel_events_total", "counter", "Events that tenants have sent.", {"kind": CHANNEL_EVENTS}),
    _histogram(
        "nagaya_channel_lag_seconds", "Age of tenants' events when they were taken in.", {}, LONG_SECONDS
    ),
    Family("nagaya_database_connections", "gauge", "Pooled connections to the control database.",
           {"database": DATABASES, "state": POOL_STATES}),
    Family("nagaya_database_errors_total", "counter", "Errors of the control database, by reason.",
           {"database": DATABASES, "reason": DATABASE_ERRORS}),
)  # fmt: skip
PLATFORM = (
    Family("nagaya_build_info", "gauge", "Always 1; what runs.", {"version": OPEN, "python": OPEN, "build": OPEN}),
    Family("nagaya_up", "gauge", "Whether a process of the platform runs and answered this scrape.",
           {"process": PROCESSES}),
    Family("nagaya_process_memory_bytes", "gauge", "Resident memory of a process of the platform.",
           {"process": PROCESSES}),
    Family("nagaya_process_cpu_seconds_total", "counter", "Processor time that a process has used since its start.",
           {"process": PROCESSES}),
    Family("nagaya_process_open_files", "gauge", "Open file descriptors of the gateway's own process."),
    Family("nagaya_process_restarts_total", "counter", "How often the supervisor had to start a process again.",
           {"process": PROCESSES}),
)  # fmt: skip
FAMILIES = {family.name: family for group in (PLATFORM, GATEWAY, KEEPER, API) for family in group}
