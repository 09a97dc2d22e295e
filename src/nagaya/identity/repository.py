"""All SQL of identity."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session as Db

from nagaya.db.search import contains
from nagaya.identity.models import ApiKey, Device, ServiceAccount, Session, SetupLink, User
from nagaya.tenants.models import Tenant


def user(db: Db, user_id: uuid.UUID) -> User | None:
    """Returns a user that is not deleted."""
    found = db.get(User, user_id)
    return found if found is not None and found.deleted is None else None


def user_by_login(db: Db, login: str) -> User | None:
    """Returns the user whose user name or email (in any case) is `login`."""
    if "\x00" in login:
        return None
    condition = or_(User.username == login, func.lower(User.email) == login.lower())
    return db.scalars(select(User).where(condition, User.deleted.is_(None)).limit(1)).first()


def name_taken(db: Db, username: str) -> bool:
    """Whether a user or service account has, or ever had, this user name."""
    users = db.scalar(select(func.count()).select_from(User).where(User.username == username))
    accounts = db.scalar(select(func.count()).select_from(ServiceAccount).where(ServiceAccount.username == username))
    return bool(users or accounts)


def email_taken(db: Db, email: str) -> bool:
    """Whether a user has, or had, this email, in any case."""
    return db.scalars(select(User.id).where(func.lower(User.email) == email.lower())).first() is not None


def users(*, search: str | None, active: bool | None) -> Select[User]:
    """Returns the statement that lists users.

    Args:
        search: Part of user name, email or name.
        active: Only active or only inactive ones.
    """
    statement = select(User).where(User.deleted.is_(None)).order_by(User.username, User.id)
    if search:
        statement = statement.where(contains(search, User.username, User.email, User.name))
    if active is not None:
        statement = statement.where(User.is_active.is_(active))
    return statement


def superusers(db: Db) -> int:
    """Returns how many active superusers there are."""
    condition = (User.is_superuser.is_(True), User.is_active.is_(True), User.deleted.is_(None))
    return db.scalar(select(func.count()).select_from(User).where(*condition)) or 0


def service_account(db: Db, account_id: uuid.UUID) -> ServiceAccount | None:
    """Returns a service account that is not deleted."""
    found = db.get(ServiceAccount, account_id)
    return found if found is not None and found.deleted is None else None


def service_accounts(organization_id: uuid.UUID) -> Select[ServiceAccount]:
    """Returns the statement that lists an organization's service accounts."""
    return (
        select(ServiceAccount)
        .where(ServiceAccount.organization_id == organization_id, ServiceAccount.deleted.is_(None))
        .order_by(ServiceAccount.username, ServiceAccount.id)
    )


def session(db: Db, session_id: uuid.UUID) -> Session | None:
    """Returns a session."""
    return db.get(Session, session_id)


def signed_in_from(db: Db, principal_id: uuid.UUID, address: str) -> bool:
    """Whether a principal has ever begun a session from a network address."""
    condition = (Session.principal_id == principal_id, Session.address == address)
    return db.scalars(select(Session.id).where(*condition).limit(1)).first() is not None


def live_sessions(principal_id: uuid.UUID, now: dt.datetime) -> Select[Session]:
    """Returns the statement that lists the sessions of a principal that have not ended."""
    return (
        select(Session)
        .where(Session.principal_id == principal_id, Session.revoked.is_(None), Session.expires > now)
        .order_by(Session.created.desc(), Session.id)
    )


def revoke_sessions(db: Db, now: dt.datetime, *conditions: Any) -> int:
    """Ends the live sessions that match `conditions` and returns how many."""
    statement = update(Session).where(Session.revoked.is_(None), Session.expires > now, *conditions)
    return int(db.connection().execute(statement.values(revoked=now, updated=now)).rowcount)


def device(db: Db, device_id: uuid.UUID) -> Device | None:
    """Returns a device authorization."""
    return db.get(Device, device_id)


def device_by_hash(db: Db, *, device_code: str | None = None, user_code: str | None = None) -> Device | None:
    """Returns the device authorization with this hash of its device code or user code."""
    column, value = (
        (Device.device_code_hash, device_code) if device_code is not None else (Device.user_code_hash, user_code)
    )
    return db.scalars(select(Device).where(column == value)).first()


def devices(user_id: uuid.UUID) -> Select[Device]:
    """Returns the statement that lists the devices that a user has approved or denied."""
    return select(Device).where(Device.user_id == user_id).order_by(Device.created.desc(), Device.id)


def api_key_by_hash(db: Db, key_hash: str) -> ApiKey | None:
    """Returns the API key with this hash."""
    return db.scalars(select(ApiKey).where(ApiKey.key_hash == key_hash)).first()


def api_key(db: Db, key_id: uuid.UUID, owner_id: uuid.UUID) -> ApiKey | None:
    """Returns a key of one owner."""
    found = db.get(ApiKey, key_id)
    return found if found is not None and owner_id in (found.user_id, found.service_account_id) else None


def api_keys(owner_id: uuid.UUID) -> Select[ApiKey]:
    """Returns the statement that lists the keys of one owner, newest first."""
    owned = or_(ApiKey.user_id == owner_id, ApiKey.service_account_id == owner_id)
    return select(ApiKey).where(owned).order_by(ApiKey.created.desc(), ApiKey.id)


def open_devices(db: Db, address: str, now: dt.datetime) -> int:
    """Returns how many device authorizations from an address wait for an answer."""
    waiting = (Device.status == "pending", Device.expires > now, Device.address == address)
    return db.scalar(select(func.count()).select_from(Device).where(*waiting)) or 0


def setup_link(db: Db, token_hash: str) -> SetupLink | None:
    """Returns a set-up link by its hash, locked for this transaction."""
    return db.scalars(select(SetupLink).where(SetupLink.token_hash == token_hash)).first()


def expire_setup_links(db: Db, now: dt.datetime, *conditions: Any) -> None:
    """Makes the unused set-up links that match `conditions` useless."""
    db.execute(
        update(SetupLink).where(SetupLink.used.is_(None), SetupLink.expires > now, *conditions).values(expires=now)
    )


def tenant(db: Db, tenant_id: uuid.UUID) -> Tenant | None:
    """Returns a tenant that is not deleted."""
    found = db.get(Tenant, tenant_id)
    return found if found is not None and found.deleted is None and found.purged is None else None


def touch(
    db: Db, sessions: Sequence[tuple[uuid.UUID, dt.datetime]], keys: Sequence[tuple[uuid.UUID, dt.datetime]]
) -> None:
    """Stores when sessions and API keys were last used.

    Args:
        db: A session that may write.
        sessions: Ids and times of sessions.
        keys: Ids and times of API keys.
    """
    for session_id, time in sessions:
        db.execute(update(Session).where(Session.id == session_id).values(last_seen=time, updated=Session.updated))
    for key_id, time in keys:
        db.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used=time, updated=ApiKey.updated))
