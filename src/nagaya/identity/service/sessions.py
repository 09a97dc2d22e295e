"""Begins and ends sessions and issues the tokens that belong to them."""

import datetime as dt
import uuid
from dataclasses import dataclass

from nagaya import audit
from nagaya.access.changes import principal_changed
from nagaya.errors import NotFound
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import ServiceAccount, Session, User
from nagaya.identity.principal import CredentialKind, Principal
from nagaya.identity.tokens import PLATFORM_AUDIENCE


@dataclass(frozen=True)
class Place:
    """From where somebody signs in.

    Args:
        address: Network address.
        user_agent: What the client calls itself.
    """

    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True)
class Issued:
    """A token for the caller.

    Args:
        token: The token.
        expires_in: Its life in seconds.
        session_id: Its session.
    """

    token: str
    expires_in: int
    session_id: uuid.UUID


def begin(
    work: UnitOfWork,
    state: AppState,
    owner: User | ServiceAccount,
    kind: CredentialKind,
    place: Place,
    *,
    device_id: uuid.UUID | None = None,
    api_key_id: uuid.UUID | None = None,
) -> Issued:
    """Begins a session and records who signed in.

    Args:
        work: The unit of work.
        state: The application's state.
        owner: Who signed in.
        kind: How.
        place: From where.
        device_id: The device authorization that it came out of.
        api_key_id: The API key that it came out of.
    """
    seconds = state.settings.device_seconds if kind in ("device", "api_key") else state.settings.session_seconds
    now = state.now()
    person = isinstance(owner, User)
    session = Session(
        id=uuid.uuid4(),
        principal_id=owner.id,
        principal_kind="user" if person else "service_account",
        kind=kind,
        device_id=device_id,
        api_key_id=api_key_id,
        user_agent=place.user_agent[:400],
        address=place.address[:64],
        created=now,
        last_seen=now,
        expires=now + dt.timedelta(seconds=seconds),
    )
    work.session.add(session)
    _end_oldest(work, state, owner.id, keep=session.id)
    if isinstance(owner, User):
        owner.last_login = now
    origin = work.origin
    origin.actor_id, origin.actor_kind, origin.actor_name = owner.id, session.principal_kind, owner.username
    target = audit.Target(session.principal_kind, owner.id, owner.username)
    organization_id = None if isinstance(owner, User) else owner.organization_id
    audit.record(work, "session.create", target, organization_id=organization_id, details={"kind": kind})
    token = state.tokens.issue(
        "device" if kind in ("device", "api_key") else "session",
        owner.id,
        audience=PLATFORM_AUDIENCE,
        seconds=seconds,
        session_id=session.id,
        epoch=owner.valid_after,
    )
    return Issued(token, seconds, session.id)


def _end_oldest(work: UnitOfWork, state: AppState, principal_id: uuid.UUID, *, keep: uuid.UUID) -> None:
    """Keeps the number of somebody's sessions bounded: whoever signs in over and over loses the oldest."""
    now = state.now()
    work.session.flush()
    statement = repository.live_sessions(principal_id, now).where(Session.id != keep)
    surplus = [each.id for each in work.session.scalars(statement.offset(state.settings.session_limit - 1))]
    if not surplus:
        return
    repository.revoke_sessions(work.session, now, Session.id.in_(surplus))
    principal_changed(work, principal_id)


def short_token(state: AppState, principal: Principal) -> Issued | None:
    """Returns a token of an hour at most for the caller's own session, e.g. to paste into a script.

    Args:
        state: The application's state.
        principal: The caller.

    Returns:
        None if the caller has no session, only a raw API key.
    """
    if principal.session_id is None:
        return None
    seconds = state.settings.api_token_seconds
    token = state.tokens.issue(
        "session", principal.id, audience=PLATFORM_AUDIENCE, seconds=seconds, session_id=principal.session_id
    )
    return Issued(token, seconds, principal.session_id)


def end(work: UnitOfWork, state: AppState, principal: Principal, session_id: uuid.UUID) -> None:
    """Ends one of the caller's own sessions, everywhere.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: The caller.
        session_id: The session.

    Raises:
        NotFound: The caller has no such session.
    """
    session = repository.session(work.session, session_id)
    now = state.now()
    if session is None or session.principal_id != principal.id or session.revoked or session.expires <= now:
        raise NotFound("You have no such session.")
    session.revoked = now
    audit.record(work, "session.delete", audit.Target("session", session.id, session.kind))
    principal_changed(work, principal.id)


def end_all(work: UnitOfWork, state: AppState, principal_id: uuid.UUID, *, keep: uuid.UUID | None = None) -> int:
    """Ends all sessions of somebody and returns how many there were. The caller audits and announces.

    Args:
        work: The unit of work.
        state: The application's state.
        principal_id: Whose.
        keep: One session that stays.
    """
    conditions = [Session.principal_id == principal_id]
    if keep is not None:
        conditions.append(Session.id != keep)
    return repository.revoke_sessions(work.session, state.now(), *conditions)
