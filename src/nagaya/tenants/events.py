"""Takes in the events of a tenant's outbox: audit, usage and deleted resources, each exactly once."""

import datetime as dt
import uuid
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from nagaya.access import changes
from nagaya.access.models import Share
from nagaya.audit.models import AuditEvent
from nagaya.db.base import utc_now
from nagaya.db.engine import Database
from nagaya.errors import NotFound
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import ServiceAccount, User
from nagaya.metrics import api as metrics
from nagaya.tenants.models import Tenant
from nagaya.usage import service as usage
from nagaya.usage.models import FEATURE_LENGTH, RESOURCE_LENGTH, storable
from nagaya.usage.service import Report

log = structlog.get_logger("nagaya.tenants.events")

OUTCOMES = frozenset({"success", "denied", "failure", "unknown"})
MOST_PARAMS = 16
VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


class TenantEvent(BaseModel):
    """One event; what it says beyond this depends on its kind, and newer tenants may say more."""

    model_config = ConfigDict(extra="allow")

    seq: int = Field(ge=1, le=2**53)
    time: float = Field(ge=0, le=4e9)
    kind: str = Field(max_length=32)


class EventBatch(BaseModel):
    """Body of `POST /channel/v1/events`."""

    events: list[TenantEvent] = Field(max_length=1000)


def take_in_events(database: Database, tenant_id: uuid.UUID, batch: EventBatch) -> int:
    """Stores events that are new, in one transaction with the sequence number up to which they were taken in.

    Args:
        database: The control database.
        tenant_id: The tenant that sent them.
        batch: The events.

    Returns:
        The sequence number that is acknowledged.

    Raises:
        NotFound: The tenant does not exist any more.
    """
    with UnitOfWork(database) as work:
        tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
        if tenant is None:
            raise NotFound("This tenant does not exist any more.")
        fresh = sorted((each for each in batch.events if each.seq > tenant.event_sequence), key=lambda each: each.seq)
        names = _actor_names(work.session, fresh)
        now = utc_now().timestamp()
        for event in fresh:
            _take_in(work, tenant, event, names)
            tenant.event_sequence = event.seq
        work.after_commit(lambda: metrics.taken_in((event.kind, now - event.time) for event in fresh))
        return tenant.event_sequence


def _take_in(work: UnitOfWork, tenant: Tenant, event: TenantEvent, names: dict[str, tuple[str, str]]) -> None:
    facts = event.model_extra or {}
    match event.kind:
        case "audit.outcome":
            work.session.add(_audit_event(tenant, event, facts, names))
        case "audit.intent":
            # Every intent is followed by its outcome, `unknown` at the least: one row for one act.
            pass
        case "resources_deleted":
            forget_shares(work, tenant, facts.get("resources"))
        case "usage":
            if (report := _usage_report(facts)) is not None:
                usage.take_in(work, tenant, [report], _time(event))
        case _:
            log.info("an event of an unknown kind was ignored", tenant_id=str(tenant.id), kind=event.kind)


def _audit_event(
    tenant: Tenant, event: TenantEvent, facts: dict[str, Any], names: dict[str, tuple[str, str]]
) -> AuditEvent:
    principal = _text(facts.get("principal"), 64)
    kind, name = names.get(principal, ("anonymous", ""))
    route, method = _text(facts.get("route"), 200), _text(facts.get("method"), 16)
    noun = _noun(route)
    params = _params(facts.get("params"))
    target = next(reversed(params.values()), "")
    outcome = _text(facts.get("outcome"), 16)
    return AuditEvent(
        time=_time(event),
        organization_id=tenant.organization_id,
        tenant_id=tenant.id,
        actor_id=_uuid(principal),
        actor_kind=kind,
        actor_name=name[:64],
        action=f"{noun}.{VERBS.get(method, method.lower() or 'change')}"[:64],
        target_kind=noun[:32],
        target_id=target[:64],
        outcome=outcome if outcome in OUTCOMES else "unknown",
        request_id=_text(facts.get("request_id"), 64) or None,
        details={"method": method, "route": route, "status": _status(facts.get("status")), "params": params},
    )


def _usage_report(facts: dict[str, Any]) -> Report | None:
    """Returns what a usage event says, if it can be counted."""
    feature, resource = _text(facts.get("feature"), FEATURE_LENGTH), _text(facts.get("resource_id"), RESOURCE_LENGTH)
    total = facts.get("total")
    if not feature or not resource or isinstance(total, bool) or total not in {1, -1}:
        return None
    return Report(feature, resource, total == -1)


def forget_shares(work: UnitOfWork, tenant: Tenant, resources: Any) -> None:
    """Removes the shares of deleted resources; with a project those of everything in it, which ZenML does not name.

    Source: ZenML calls `delete_resources` with `project/<id>` only when a project is deleted (wire contract, 5.4).
    """
    names = [each for each in resources if isinstance(each, str)] if isinstance(resources, list) else []
    conditions = [Share.resource == name for name in names]
    conditions += [
        Share.resource.startswith(f"{name.removeprefix('project/')}:", autoescape=True)
        for name in names
        if name.startswith("project/")
    ]
    if not conditions:
        return
    for start in range(0, len(conditions), 200):
        gone = work.session.execute(
            delete(Share).where(Share.tenant_id == tenant.id, or_(*conditions[start : start + 200])).returning(Share.id)
        ).all()
        if gone:
            changes.tenant_changed(work, tenant.id)


def _actor_names(session: Session, events: list[TenantEvent]) -> dict[str, tuple[str, str]]:
    """Returns kind and name of everybody who acts in a batch, by the id that the events give."""
    ids = {each for event in events if (each := _uuid(_text((event.model_extra or {}).get("principal"), 64)))}
    found: dict[str, tuple[str, str]] = {}
    models: tuple[tuple[type[User] | type[ServiceAccount], Literal["user", "service_account"]], ...] = (
        (User, "user"),
        (ServiceAccount, "service_account"),
    )
    for model, kind in models:
        for key, name in session.execute(select(model.id, model.username).where(model.id.in_(ids))):
            found[str(key)] = (kind, name)
    return found


def _noun(route: str) -> str:
    """Returns what a route of ZenML's API is about: `/api/v1/stacks/{stack_id}` is about `stacks`."""
    parts = [each for each in route.removeprefix("/api/v1").split("/") if each and not each.startswith("{")]
    return parts[0] if parts else "tenant"


def _time(event: TenantEvent) -> dt.datetime:
    # A tenant that is ahead of us must not put its events behind those that are still to come.
    return min(dt.datetime.fromtimestamp(event.time, dt.UTC), utc_now())


def _text(value: Any, length: int) -> str:
    """Returns a text as every database stores it; of anything else nothing."""
    return storable(value, length) if isinstance(value, str) else ""


def _params(value: Any) -> dict[str, str]:
    """Returns the parameters of a route, bounded: whatever a tenant sends must neither fail nor fill the database."""
    items = value.items() if isinstance(value, dict) else ()
    return {_text(name, 64): _text(str(each)[:200], 200) for name, each in list(items)[:MOST_PARAMS]}


def _status(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1000 else None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
