"""Tokens for and about tenants: of servers, for one tenant, and the answer to "who is this, and may they enter"."""

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session as Db

from nagaya import audit
from nagaya.access.reach import tenants_of
from nagaya.audit import repository as audit_repository
from nagaya.errors import Conflict, Forbidden, NotAuthenticated, NotFound
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.principal import Principal
from nagaya.identity.tokens import SERVER_AUDIENCE
from nagaya.tenants import enrollment
from nagaya.tenants import repository as tenants
from nagaya.tenants.models import Tenant
from nagaya.tenants.secrets import TenantSecrets

RECORDED_FAILURES = 50
"""Of wrong client secrets from one address within a while; further ones would only fill the record."""


@dataclass(frozen=True)
class Token:
    """A token that no session of its own belongs to.

    Args:
        access_token: The token.
        expires_in: Life in seconds.
    """

    access_token: str
    expires_in: int


def enterable(db: Db, state: AppState, principal: Principal, id_or_name: str) -> Tenant:
    """Returns a tenant that the principal may enter.

    Args:
        db: A session.
        state: The application's state.
        principal: Who.
        id_or_name: Id, name where it is unambiguous, or `organization/name`.

    Raises:
        NotFound: There is none, or the principal may not enter it.
    """
    found = tenants.find(db, tenants_of(principal, state.now(), member_only=True), id_or_name)
    if len(found) != 1 or found[0][0].desired_state == "deleted":
        raise NotFound("There is no such tenant, or you are not a member of it.")
    return found[0][0]


def server_token(work: UnitOfWork, state: AppState, client_id: str, client_secret: str) -> Token | None:
    """Returns a token for a tenant's server, or None if id or secret is wrong.

    Args:
        work: The unit of work.
        state: The application's state.
        client_id: The tenant's id.
        client_secret: Its client secret.
    """
    try:
        tenant = repository.tenant(work.session, uuid.UUID(client_id))
    except ValueError:
        tenant = None
    key_id = None if tenant is None else _credential(work, state, tenant, client_secret)
    if tenant is None or key_id is None:
        since = state.now() - dt.timedelta(seconds=state.settings.login_window)
        lately = audit_repository.count(work.session, "server.login", "denied", since, address=work.origin.address)
        if lately < RECORDED_FAILURES:
            target = audit.Target("tenant", client_id[:64] if client_id.isprintable() else "")
            audit.record(work, "server.login", target, outcome="denied", reason="wrong client id or secret")
        return None
    work.origin.actor_kind, work.origin.actor_id, work.origin.actor_name = "server", tenant.id, tenant.name
    target = audit.Target("tenant", tenant.id, tenant.name)
    audit.record(work, "server.login", target, organization_id=tenant.organization_id, tenant_id=tenant.id)
    seconds = state.settings.server_token_seconds
    token = state.tokens.issue(
        "server", tenant.id, audience=SERVER_AUDIENCE, seconds=seconds, session_id=key_id if tenant.enrolled else None
    )
    return Token(token, seconds)


def _credential(work: UnitOfWork, state: AppState, tenant: Tenant, secret: str) -> uuid.UUID | None:
    """Returns the id of the enrollment key that a secret is, or of a hosted tenant itself; None if it is wrong."""
    if not tenant.enrolled:
        return tenant.id if TenantSecrets(state.keys.master).matches(tenant, "client", secret) else None
    now = state.now()
    key = enrollment.matching_key(work.session, state.keys, tenant, secret, now)
    if key is None or tenant.desired_state != "available":
        return None
    key.last_used = tenant.last_seen = now
    return key.id


def tenant_token(work: UnitOfWork, state: AppState, principal: Principal, id_or_name: str) -> Token:
    """Returns a token of minutes for one tenant and records it.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: Who.
        id_or_name: The tenant.

    Raises:
        Conflict: The tenant is enrolled.
        Forbidden: The caller has no session that could end the token.
        NotFound: The caller may not enter such a tenant.
    """
    tenant = enterable(work.session, state, principal, id_or_name)
    if tenant.enrolled:
        raise Conflict("The server of this tenant runs elsewhere and takes no such tokens: use `zenml login`.")
    token = short_token(state, principal, tenant.id)
    audit.record(
        work,
        "tenant.authorize",
        audit.Target("tenant", tenant.id, tenant.name),
        organization_id=tenant.organization_id,
        tenant_id=tenant.id,
    )
    return token


def short_token(state: AppState, principal: Principal, tenant_id: uuid.UUID) -> Token:
    """Returns a token of minutes for one tenant that the principal was found to be allowed to enter.

    Raises:
        Forbidden: The principal has no session that could end the token.
    """
    if principal.session_id is None:
        raise Forbidden("Exchange the API key at POST /auth/login first; this token would outlive the key.")
    seconds = state.settings.tenant_token_seconds
    token = state.tokens.issue(
        "tenant", principal.id, audience=str(tenant_id), seconds=seconds, session_id=principal.session_id
    )
    return Token(token, seconds)


def require_entry(db: Db, state: AppState, principal: Principal, server_id: str) -> None:
    """Checks that a principal may enter the tenant that a ZenML server says it is.

    Raises:
        NotAuthenticated: The credential is a raw API key, with which a server would skip all permission checks.
        Forbidden: There is no such tenant, it is not in service, or the principal may not enter it: always in the same
            words. ZenML tells people of 403 that they are not authorized, and of 404 that the server is unknown.
    """
    if principal.session_id is None:
        raise NotAuthenticated("Exchange the API key at POST /auth/login first.")
    refusal = Forbidden("There is no such tenant in service, or you are not a member of it.")
    try:
        tenant = enterable(db, state, principal, server_id)
    except NotFound:
        raise refusal from None
    if tenant.desired_state != "available":
        raise refusal
