"""Rules of enrolled tenants, whose ZenML server runs elsewhere: keys, what the server reports, how they live.

A stock server in cloud mode signs in with the tenant's id and the enrollment key, reports its version and address in
headers at the end of its start, and asks for every decision (wire contract, sections 3 to 6). There is nothing to
start or stop here: an act on such a tenant is done when it is written.
"""

import datetime as dt
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from nagaya import audit
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.keys import Keys
from nagaya.identity.tokens import SERVER_AUDIENCE
from nagaya.operations import service as operations
from nagaya.organizations.models import Organization
from nagaya.tenants.addresses import AddressRefused, server_url_of, version_of
from nagaya.tenants.lifecycle import SETTLED, STORED, Event, State, observe, state_of
from nagaya.tenants.looking import Look
from nagaya.tenants.models import EnrollmentKey, Tenant
from nagaya.tenants.spec import Addresses

KEY_CHARACTERS: Final = 43
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PURPOSE: Final = "enrollment key"
KEY_VARIABLE: Final = "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET"
WAITING: Final = "Waiting for the server: start it with the enrollment key."
FIRST_LOOK: Final = dt.timedelta(seconds=10)
"""Longest wait between a report and the look at the server."""
NO_ADDRESS: Final = "The server did not say its address, so no client can be sent there: set ZENML_SERVER_SERVER_URL."
JWT_MINUTES: Final = 5
"""Life of the tokens of an enrolled server. ZenML asks nobody about what its caller owns, so a removed member keeps
that until the token ends."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a server says of itself, in the headers of its calls.

    Args:
        version: `zenml-server-version`.
        url: `zenml-server-url`; None if it did not say.
    """

    version: str
    url: str | None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "Report":
        """Reads the headers of a call."""
        return cls(headers.get("zenml-server-version", ""), headers.get("zenml-server-url") or None)


def new_key(session: Session, keys: Keys, tenant_id: uuid.UUID, created_by: uuid.UUID | None) -> str:
    """Makes a key with 256 random bits, stores its keyed hash, and returns the key; the caller commits.

    Args:
        session: Database session.
        keys: The platform's keys.
        tenant_id: The tenant.
        created_by: Who asked for it.
    """
    key = "".join(secrets.choice(ALPHABET) for _ in range(KEY_CHARACTERS))
    session.add(EnrollmentKey(tenant_id=tenant_id, key_hash=keys.keyed_hash(PURPOSE, key), created_by=created_by))
    session.flush()
    return key


def rotate(
    session: Session, keys: Keys, tenant: Tenant, by: uuid.UUID, *, now: dt.datetime, overlap: dt.timedelta
) -> str:
    """Replaces the key of a tenant; what was issued for a key ends with the key.

    Args:
        session: Database session; the caller commits.
        keys: The platform's keys.
        tenant: An enrolled tenant.
        by: Who asks.
        now: Current time.
        overlap: How long the key in force until now is accepted beside the new one.

    Returns:
        The new key.
    """
    # Two rotations at once must not leave two keys in force.
    session.get_one(Tenant, tenant.id, with_for_update=True)
    of_tenant = EnrollmentKey.tenant_id == tenant.id
    session.execute(delete(EnrollmentKey).where(of_tenant, EnrollmentKey.expires <= now))
    if not overlap:
        session.execute(delete(EnrollmentKey).where(of_tenant))
    for row in session.scalars(select(EnrollmentKey).where(of_tenant)):
        row.expires = min(row.expires or now + overlap, now + overlap)
    return new_key(session, keys, tenant.id, by)


def matching_key(
    session: Session, keys: Keys, tenant: Tenant, presented: str, now: dt.datetime
) -> EnrollmentKey | None:
    """Returns the unexpired key of a tenant that was presented."""
    return session.scalar(
        select(EnrollmentKey).where(
            EnrollmentKey.tenant_id == tenant.id,
            EnrollmentKey.key_hash == keys.keyed_hash(PURPOSE, presented),
            _in_force(now),
        )
    )


def key_in_force(session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID | None, now: dt.datetime) -> bool:
    """Whether a key, by id, is still one of a tenant."""
    statement = select(EnrollmentKey.id).where(
        EnrollmentKey.id == key_id, EnrollmentKey.tenant_id == tenant_id, _in_force(now)
    )
    return session.scalar(statement) is not None


def _in_force(now: dt.datetime) -> ColumnElement[bool]:
    return or_(EnrollmentKey.expires.is_(None), EnrollmentKey.expires > now)


def environment(tenant: Tenant, organization: Organization, addresses: Addresses, key: str) -> dict[str, str]:
    """Returns the environment of the tenant's server, in the names of ZenML 0.80 and newer.

    Only the server's own address is left to be filled in.

    Args:
        tenant: An enrolled tenant.
        organization: Its organization.
        addresses: Where the platform is.
        key: The enrollment key.
    """
    return {
        "ZENML_SERVER_DEPLOYMENT_TYPE": "cloud",
        "ZENML_SERVER_SERVER_URL": "",
        "ZENML_SERVER_JWT_SECRET_KEY": secrets.token_hex(32),
        "ZENML_SERVER_JWT_TOKEN_EXPIRE_MINUTES": str(JWT_MINUTES),
        "ZENML_SERVER_CORS_ALLOW_ORIGINS": addresses.public_url,
        "ZENML_SERVER_PRO_API_URL": addresses.api_url,
        "ZENML_SERVER_PRO_DASHBOARD_URL": addresses.dashboard_url(organization.name),
        "ZENML_SERVER_PRO_OAUTH2_AUDIENCE": SERVER_AUDIENCE,
        KEY_VARIABLE: key,
        "ZENML_SERVER_PRO_ORGANIZATION_ID": str(organization.id),
        "ZENML_SERVER_PRO_ORGANIZATION_NAME": organization.name,
        "ZENML_SERVER_PRO_WORKSPACE_ID": str(tenant.id),
        "ZENML_SERVER_PRO_WORKSPACE_NAME": tenant.name,
    }


def settle(tenant: Tenant, after: State, now: dt.datetime) -> State:
    """Returns the state that an enrolled tenant has right after an act, because nothing has to be started or stopped.

    Args:
        tenant: The tenant.
        after: The state that the act leads to for a hosted tenant.
        now: Current time.
    """
    if after is State.DELETING:
        # Whoever enrolls the same server again must not be told that its address is taken.
        tenant.server_url = tenant.reported_version = None
    running = after is State.DEPLOYING
    tenant.liveness, tenant.poll_failures = "unknown", 0
    tenant.next_poll = now if running and tenant.server_url else None
    tenant.status_reason = "" if not running or tenant.server_url else WAITING
    if running:
        return State.AVAILABLE if tenant.server_url and tenant.reported_version else State.DEPLOYING
    return observe(after, Event.STOPPED if after is State.DEACTIVATING else Event.REMOVED)


def take_report(work: UnitOfWork, tenant_id: uuid.UUID, report: Report, addresses: Addresses, now: dt.datetime) -> str:
    """Writes what a server reports at the end of its start.

    Args:
        work: Unit of work of the server.
        tenant_id: An enrolled tenant.
        report: What it says.
        addresses: The platform's own, which no other server has.
        now: Current time.

    Returns:
        Why the report is refused; empty if it is not. Both are stored.
    """
    tenant = work.session.get_one(Tenant, tenant_id, with_for_update=True)
    if tenant.desired_state != "available":
        return "The tenant has just been deactivated or deleted."
    tenant.last_seen = now
    try:
        version = version_of(report.version)
        url = server_url_of(report.url, addresses.public_url, addresses.hosts) if report.url is not None else None
        _require_free(work.session, tenant, url)
    except AddressRefused as refusal:
        tenant.status_reason = str(refusal)
        _record(work, tenant, str(refusal), {})
        return str(refusal)
    tenant.reported_version, tenant.server_url = version, url
    tenant.liveness, tenant.activity, tenant.poll_failures = "unknown", "unknown", 0
    # A server that reports again and again, with ever new addresses, does not make the platform look more often.
    earliest = tenant.next_poll if tenant.next_poll is not None and tenant.next_poll > now else now
    tenant.next_poll = min(earliest, now + FIRST_LOOK) if url else None
    _record(work, tenant, "", {"version": version, "url": url})
    if url is None:
        tenant.desired_state, tenant.status = STORED[State.DEPLOYING]
        tenant.status_reason = NO_ADDRESS
    else:
        _arrive(work, tenant, now)
    return ""


def take_look(work: UnitOfWork, tenant: Tenant, found: Look, now: dt.datetime) -> None:
    """Writes what a look at a server found. A server that the platform cannot reach may well be reached by clients.

    Args:
        work: Unit of work of the platform.
        tenant: An enrolled tenant that is to be in service.
        found: What was found.
        now: Current time.
    """
    tenant.liveness = "up" if found.alive else "down"
    tenant.activity = "awake" if found.alive else "unreachable"
    if found.alive:
        _arrive(work, tenant, now)
    if found.reason:
        tenant.status_reason = found.reason if found.alive else f"The server does not answer: {found.reason}"


def _require_free(session: Session, tenant: Tenant, url: str | None) -> None:
    if url is None:
        return
    taken = session.scalar(select(Tenant.id).where(Tenant.server_url == url, Tenant.id != tenant.id))
    if taken is not None:
        raise AddressRefused(f"{url} is the address of another tenant's server already.")


def _arrive(work: UnitOfWork, tenant: Tenant, now: dt.datetime) -> None:
    after = observe(state_of(tenant.desired_state, tenant.status), Event.READY)
    if (tenant.desired_state, tenant.status) != STORED[after]:
        tenant.status_changed = now
    tenant.desired_state, tenant.status = STORED[after]
    tenant.status_reason = ""
    if after in SETTLED:
        for operation in operations.unfinished(work.session, tenant.id):
            operations.finish(operation, "succeeded", now)


def _record(work: UnitOfWork, tenant: Tenant, refusal: str, details: dict[str, str | None]) -> None:
    audit.record(
        work,
        "server.report",
        audit.Target("tenant", tenant.id, tenant.name),
        organization_id=tenant.organization_id,
        tenant_id=tenant.id,
        outcome="denied" if refusal else "success",
        reason=refusal,
        details=details,
    )
