"""Turns a credential into a principal, or refuses it."""

import datetime as dt

from sqlalchemy.orm import Session as Db

from nagaya.errors import NotAuthenticated
from nagaya.http.state import AppState
from nagaya.identity import repository
from nagaya.identity.models import ApiKey, ServiceAccount, Session, User
from nagaya.identity.principal import Principal, Server
from nagaya.identity.service import key_format
from nagaya.identity.tokens import PLATFORM_AUDIENCE, SERVER_AUDIENCE, Claims, TokenType
from nagaya.tenants import enrollment

BEARER_KINDS: frozenset[TokenType] = frozenset({"session", "device"})
COOKIE_KINDS: frozenset[TokenType] = frozenset({"session"})
API_KEY_PURPOSE = "api-key"


def by_token(db: Db, state: AppState, token: str, *, cookie: bool = False) -> Principal:
    """Returns who a bearer token, a raw API key or a session cookie belongs to.

    Args:
        db: A session, for reading.
        state: The application's state.
        token: What was sent.
        cookie: Whether it came as a cookie, which only sessions of browsers may.

    Raises:
        NotAuthenticated: It is not valid, or its owner may not act any more.
    """
    if token.startswith(key_format.PREFIX) and not cookie:
        return of_key(db, state, key_of(db, state, token))
    kinds = COOKIE_KINDS if cookie else BEARER_KINDS
    claims = state.tokens.verify(token, audience=PLATFORM_AUDIENCE, kinds=kinds)
    session = _live_session(db, state, claims)
    if cookie and session.kind != "browser":
        raise NotAuthenticated("This token is not a browser's session; sign in.")
    owner = _owner(db, session)
    if not owner.is_active or claims.issued_at < owner.valid_after:
        raise NotAuthenticated("This sign-in has been ended; sign in again.")
    state.activity.session_used(session.id, state.now())
    return principal_of(owner, session)


def key_of(db: Db, state: AppState, raw: str) -> ApiKey:
    """Returns the API key that `raw` is.

    Raises:
        NotAuthenticated: It does not exist, or is inactive, revoked or expired.
    """
    if not key_format.well_formed(raw):
        raise NotAuthenticated("The API key is mistyped or cut off: its checksum does not match.")
    key = repository.api_key_by_hash(db, state.keys.keyed_hash(API_KEY_PURPOSE, raw))
    if key is None or not usable(key, state.now()):
        raise NotAuthenticated("The API key is unknown, inactive, revoked or expired.")
    return key


def usable(key: ApiKey, now: dt.datetime) -> bool:
    """Whether a key may be used at `now`."""
    revoked = key.revoked is not None and key.revoked <= now
    return key.is_active and not revoked and (key.expires is None or key.expires > now)


def key_owner(db: Db, key: ApiKey) -> User | ServiceAccount:
    """Returns the active owner of a key.

    Raises:
        NotAuthenticated: The owner is deactivated or deleted.
    """
    owner: User | ServiceAccount | None
    if key.user_id is not None:
        owner = repository.user(db, key.user_id)
    else:
        assert key.service_account_id is not None
        owner = repository.service_account(db, key.service_account_id)
    if owner is None or not owner.is_active:
        raise NotAuthenticated("The owner of this API key is not active.")
    return owner


def of_key(db: Db, state: AppState, key: ApiKey) -> Principal:
    """Returns the principal of an API key that is used directly as a bearer.

    Raises:
        NotAuthenticated: The owner is deactivated or deleted.
    """
    owner = key_owner(db, key)
    state.activity.key_used(key.id, state.now())
    return principal_of(owner, None)


def principal_of(owner: User | ServiceAccount, session: Session | None) -> Principal:
    """Returns the principal of a user or service account.

    Args:
        owner: Who.
        session: The session; None for a raw API key.
    """
    return Principal(
        id=owner.id,
        kind="user" if isinstance(owner, User) else "service_account",
        username=owner.username,
        email=owner.email if isinstance(owner, User) else None,
        name=(owner.name if isinstance(owner, User) else "") or owner.username,
        superuser=isinstance(owner, User) and owner.is_superuser,
        session_id=session.id if session else None,
        organization_id=None if isinstance(owner, User) else owner.organization_id,
        credential=session.kind if session else "api_key",  # type: ignore[arg-type]  # The column holds these values.
    )


def server_by_token(db: Db, state: AppState, token: str) -> Server:
    """Returns the tenant's server that a `server` token belongs to.

    Raises:
        NotAuthenticated: The token is not valid, or the tenant is gone; of an enrolled tenant also if that is
            deactivated, or the key that the token was given for has been replaced.
    """
    claims = state.tokens.verify(token, audience=SERVER_AUDIENCE, kinds=frozenset({"server"}))
    tenant = repository.tenant(db, claims.subject)
    if tenant is None:
        raise NotAuthenticated("The tenant of this token does not exist.")
    if tenant.enrolled:
        if tenant.desired_state != "available":
            raise NotAuthenticated("The tenant of this token is deactivated.")
        if not enrollment.key_in_force(db, tenant.id, claims.session_id, state.now()):
            raise NotAuthenticated("The enrollment key of this token has been replaced.")
    return Server(tenant.id, tenant.organization_id, tenant.name, tenant.enrolled)


def _live_session(db: Db, state: AppState, claims: Claims) -> Session:
    session = repository.session(db, claims.session_id) if claims.session_id else None
    now = state.now()
    if session is None or session.principal_id != claims.subject or session.revoked is not None:
        raise NotAuthenticated("This sign-in has been ended; sign in again.")
    seen = state.activity.last_seen(session.id) or session.last_seen or session.created
    idle = session.kind == "browser" and (now - seen).total_seconds() > state.settings.idle_seconds
    if session.expires <= now or idle:
        raise NotAuthenticated("This sign-in has expired; sign in again.")
    return session


def _owner(db: Db, session: Session) -> User | ServiceAccount:
    owner: User | ServiceAccount | None
    if session.principal_kind == "user":
        owner = repository.user(db, session.principal_id)
    else:
        owner = repository.service_account(db, session.principal_id)
    if owner is None:
        raise NotAuthenticated("This account does not exist any more.")
    return owner
