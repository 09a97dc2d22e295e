"""What one api process counts: requests, operations, the channel, the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from nagaya import tracing
from nagaya.metrics.catalogue import API, OTHER
from nagaya.metrics.registry import Labels, Registry
from nagaya.operations.models import Operation

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

    from nagaya.db.engine import Database
    from nagaya.tenants.hub import Hub

registry = Registry(API)
_seconds = registry.histogram("nagaya_api_request_seconds")
_requests = registry.counter("nagaya_api_requests_total")
_operations = registry.histogram("nagaya_operation_seconds")
_events = registry.counter("nagaya_channel_events_total")
_lag = registry.histogram("nagaya_channel_lag_seconds")
_errors = registry.counter("nagaya_database_errors_total")
_ENDED = "nagaya_ended_operations"


def request(application: str, method: str, status: int, seconds: float) -> None:
    """Count a request that was answered."""
    group = f"{status // 100}xx"
    _requests.inc(application, method, group)
    _seconds.observe(seconds, application, group)


def taken_in(events: Iterable[tuple[str, float]]) -> None:
    """Count events of a tenant: their kinds, and their ages in seconds (by two clocks, so they may be negative)."""
    for kind, age in events:
        _events.inc(kind)
        _lag.observe(max(0.0, age))


def operation_ended(session: Session | None, operation: Operation, now: dt.datetime) -> None:
    """Note that an operation has ended: counted once that is committed."""
    if session is not None and operation.created is not None:
        took = (now - operation.created).total_seconds()
        session.info.setdefault(_ENDED, []).append((took, tracing.Ended.of(operation, now)))


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    for took, ended in session.info.pop(_ENDED, ()):
        _operations.observe(took, ended.kind, ended.status)
        tracing.operation(ended)


@event.listens_for(Session, "after_rollback")
def _rolled_back(session: Session) -> None:
    session.info.pop(_ENDED, None)


def watch_database(database: Database) -> None:
    """Count the database's errors, and let the gauges read its pool."""
    kind = database.engine.dialect.name

    @event.listens_for(database.engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        _errors.inc(kind, _reason(context.sqlalchemy_exception or context.original_exception))

    def pool() -> dict[Labels, float]:
        state: Any = database.engine.pool
        return {(kind, "in_use"): float(state.checkedout()), (kind, "idle"): float(state.checkedin())}

    registry.gauge("nagaya_database_connections", pool)

    def operations() -> dict[Labels, float]:
        statement = select(Operation.kind, Operation.status, func.count()).group_by(Operation.kind, Operation.status)
        with database.read() as db:
            return {(row[0], row[1]): float(row[2]) for row in db.execute(statement)}

    registry.gauge("nagaya_operations", operations)


def watch_channel(hub: Hub) -> None:
    """Let the gauge read how many tenants are connected."""
    registry.gauge("nagaya_channel_streams", lambda: {(): float(hub.count)})


def _reason(error: BaseException | None) -> str:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return "disconnected"
    if isinstance(error, IntegrityError):
        return "integrity"
    if isinstance(error, PoolTimeout):
        return "timeout"
    return "locked" if "locked" in str(getattr(error, "orig", error)) else OTHER
