"""The rules of API keys: creation, rotation with an overlap, revocation, exchange for a session."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from nagaya import audit
from nagaya.access.changes import principal_changed
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import ApiKey, ServiceAccount, Session, User
from nagaya.identity.service import authentication, key_format, sessions

KEYS_PER_OWNER = 100


@dataclass(frozen=True)
class NewKey:
    """A key and its only appearance in clear text.

    Args:
        key: The stored key.
        value: What the caller must keep.
    """

    key: ApiKey
    value: str


def get(work: UnitOfWork, owner: User | ServiceAccount, key_id: uuid.UUID) -> ApiKey:
    """Returns a key of `owner`.

    Raises:
        NotFound: There is none with this id.
    """
    key = repository.api_key(work.session, key_id, owner.id)
    if key is None:
        raise NotFound("There is no such API key.")
    return key


def create(
    work: UnitOfWork,
    state: AppState,
    owner: User | ServiceAccount,
    *,
    name: str,
    description: str = "",
    expires: dt.datetime | None = None,
) -> NewKey:
    """Creates a key.

    Args:
        work: The unit of work.
        state: The application's state.
        owner: Whose.
        name: Name, unique among the owner's keys that are not revoked.
        description: What it is for.
        expires: End of its life; by default `key_days` from now.

    Raises:
        Conflict: The name is taken, or there are too many keys.
        InvalidInput: The end lies in the past or beyond `key_days_limit`.
    """
    live = select(func.count()).select_from(repository.api_keys(owner.id).where(ApiKey.revoked.is_(None)).subquery())
    if (work.session.scalar(live) or 0) >= KEYS_PER_OWNER:
        raise Conflict(f"There are already {KEYS_PER_OWNER} keys; revoke those that are not needed.")
    same = repository.api_keys(owner.id).where(ApiKey.name == name, ApiKey.revoked.is_(None))
    if work.session.scalars(same).first() is not None:
        raise Conflict("There is a key of this name already.", fields={"name": "is taken"})
    new = _generate(state, owner, name, description, _bounded(state, expires))
    work.session.add(new.key)
    _record(work, "api_key.create", owner, new.key)
    return new


def update(
    work: UnitOfWork, state: AppState, owner: User | ServiceAccount, key: ApiKey, changes: dict[str, Any]
) -> ApiKey:
    """Renames, describes, activates or deactivates a key.

    Args:
        work: The unit of work.
        state: The application's state.
        owner: Whose.
        key: The key.
        changes: New values of `name`, `description` and `is_active`.

    Raises:
        Conflict: The key is revoked.
    """
    if key.revoked is not None:
        raise Conflict("This key is revoked; create a new one.")
    for field, value in changes.items():
        setattr(key, field, value)
    if changes.get("is_active") is False:
        _end_sessions(work, owner, key, state.now())
    _record(work, "api_key.update", owner, key, {"fields": sorted(changes)})
    return key


def rotate(
    work: UnitOfWork, state: AppState, owner: User | ServiceAccount, key: ApiKey, *, retain_minutes: int
) -> NewKey:
    """Replaces a key by a new one of the same name; the old value works on for a while.

    Args:
        work: The unit of work.
        state: The application's state.
        owner: Whose.
        key: The key.
        retain_minutes: How long the old value stays valid.

    Raises:
        Conflict: The key is revoked.
    """
    now = state.now()
    if key.revoked is not None:
        raise Conflict("This key is revoked; create a new one.")
    new = _generate(state, owner, key.name, key.description, _bounded(state, None))
    work.session.add(new.key)
    key.revoked = now + dt.timedelta(minutes=retain_minutes)
    if retain_minutes == 0:
        _end_sessions(work, owner, key, now)
    _record(work, "api_key.rotate", owner, new.key, {"replaces": str(key.id), "retain_minutes": retain_minutes})
    return new


def revoke(work: UnitOfWork, state: AppState, owner: User | ServiceAccount, key: ApiKey) -> None:
    """Makes a key useless for ever, and all sessions that came out of it.

    Args:
        work: The unit of work.
        state: The application's state.
        owner: Whose.
        key: The key.
    """
    now = state.now()
    if key.revoked is None or key.revoked > now:
        key.revoked = now
    _end_sessions(work, owner, key, now)
    _record(work, "api_key.revoke", owner, key)


def exchange(work: UnitOfWork, state: AppState, raw: str, place: sessions.Place) -> sessions.Issued:
    """Returns a device token for an API key, as the stock client asks for it (zenml ≥ 0.84.3).

    Args:
        work: The unit of work.
        state: The application's state.
        raw: The key.
        place: From where.

    Raises:
        NotAuthenticated: The key or its owner may not sign in.
    """
    key = authentication.key_of(work.session, state, raw)
    owner = authentication.key_owner(work.session, key)
    state.activity.key_used(key.id, state.now())
    return sessions.begin(work, state, owner, "api_key", place, api_key_id=key.id)


def _bounded(state: AppState, expires: dt.datetime | None) -> dt.datetime:
    now = state.now()
    if expires is None:
        return now + dt.timedelta(days=min(state.settings.key_days, state.settings.key_days_limit))
    if expires <= now:
        raise InvalidInput("The key would end before it begins.", fields={"expires": "must lie in the future"})
    if expires > now + dt.timedelta(days=state.settings.key_days_limit):
        limit = f"must be at most {state.settings.key_days_limit} days from now"
        raise InvalidInput(f"The end of the key {limit}.", fields={"expires": limit})
    return expires


def _generate(
    state: AppState, owner: User | ServiceAccount, name: str, description: str, expires: dt.datetime
) -> NewKey:
    value = key_format.generate()
    person = isinstance(owner, User)
    now = state.now()
    key = ApiKey(
        id=uuid.uuid4(),
        user_id=owner.id if person else None,
        service_account_id=None if person else owner.id,
        name=name,
        description=description,
        hint=value[-4:],
        key_hash=state.keys.keyed_hash(authentication.API_KEY_PURPOSE, value),
        is_active=True,
        expires=expires,
        created=now,
        updated=now,
    )
    return NewKey(key, value)


def _end_sessions(work: UnitOfWork, owner: User | ServiceAccount, key: ApiKey, now: dt.datetime) -> None:
    if repository.revoke_sessions(work.session, now, Session.api_key_id == key.id):
        principal_changed(work, owner.id)


def _record(
    work: UnitOfWork, action: str, owner: User | ServiceAccount, key: ApiKey, details: dict[str, Any] | None = None
) -> None:
    audit.record(
        work,
        action,
        audit.Target("api_key", key.id, key.name),
        organization_id=None if isinstance(owner, User) else owner.organization_id,
        details={"owner": str(owner.id)} | (details or {}),
    )
