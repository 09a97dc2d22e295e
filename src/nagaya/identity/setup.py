"""The first start: keys, database, and the first administrator, by password or by a link that works once."""

import datetime as dt
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from nagaya import audit
from nagaya.app_state import create_state
from nagaya.errors import Gone
from nagaya.http.settings import ApiSettings
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import Session, SetupLink, User
from nagaya.identity.passwords import check_password
from nagaya.identity.service import users
from nagaya.identity.tokens import PLATFORM_AUDIENCE

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

BOOTSTRAP_SECONDS = 300


@dataclass(frozen=True)
class AdminResult:
    """What the first start made.

    Args:
        setup_url: Link by which the first administrator signs up; None if there is an administrator.
        admin_email: The administrator that was made now; None if there was one, or a link.
    """

    setup_url: str | None = None
    admin_email: str | None = None


def bootstrap_admin(config: "PlatformConfig", admin_email: str | None, admin_password: str | None) -> AdminResult:
    """Makes keys, database and the first administrator, before the api starts. Safe to call at every start.

    It runs as the user of the api, to whom everything that it makes then belongs.

    Args:
        config: The platform's configuration.
        admin_email: Address of the first administrator.
        admin_password: The password; without one (or without an email) a set-up link is made instead.

    Raises:
        KeyFileError: A key file is damaged.
        SchemaError: The database was made by a newer version.
        InvalidInput: The password breaks a rule.
    """
    settings = ApiSettings.from_platform(config)
    state = create_state(settings)
    try:
        with UnitOfWork(state.database) as work:
            result = first_admin(work, state, admin_email, admin_password)
    finally:
        state.database.close()
    return result


def first_admin(work: UnitOfWork, state: AppState, email: str | None, password: str | None) -> AdminResult:
    """Makes the first administrator if there is none; see `bootstrap_admin`.

    Args:
        work: The unit of work.
        state: The application's state.
        email: Address.
        password: Password.
    """
    if repository.superusers(work.session):
        return AdminResult()
    if email and password:
        check_password(password, email)
        create_admin(work, state, email=email, name="", password_hash=state.passwords.hash_now(password))
        return AdminResult(admin_email=email)
    repository.expire_setup_links(work.session, state.now(), SetupLink.purpose == "setup")
    return AdminResult(setup_url=_link(work, state, "setup", None, email))


def create_admin(work: UnitOfWork, state: AppState, *, email: str, name: str, password_hash: str) -> User:
    """Creates a superuser and makes every open set-up link useless.

    Args:
        work: The unit of work.
        state: The application's state.
        email: Address.
        name: Name to show.
        password_hash: Encoded hash.
    """
    repository.expire_setup_links(work.session, state.now(), SetupLink.purpose == "setup")
    return users.create(work, email=email, username=None, name=name, password_hash=password_hash, superuser=True)


def password_link(work: UnitOfWork, state: AppState, user: User) -> str:
    """Returns a link by which a user sets a password; earlier links of the user stop working.

    Args:
        work: The unit of work.
        state: The application's state.
        user: The user.
    """
    repository.expire_setup_links(work.session, state.now(), SetupLink.user_id == user.id)
    return _link(work, state, "password", user.id, user.email)


def usable_link(work: UnitOfWork, state: AppState, token: str) -> SetupLink:
    """Returns the link with this token.

    Args:
        work: The unit of work.
        state: The application's state.
        token: The token.

    Raises:
        Gone: It is unknown, was used, was replaced, or has expired.
    """
    link = repository.setup_link(work.session, state.keys.keyed_hash("setup-link", token))
    taken = link is not None and link.purpose == "setup" and repository.superusers(work.session) > 0
    if link is None or link.used is not None or link.expires <= state.now() or taken:
        raise Gone("This link is not valid any more. Run `nagaya up` again, or ask an administrator for a new one.")
    return link


def use_link(work: UnitOfWork, state: AppState, token: str, *, email: str, name: str, password_hash: str) -> User:
    """Makes the first administrator, or sets a user's password, and uses up the link.

    Args:
        work: The unit of work; of two that use the same link at once one fails.
        state: The application's state.
        token: The link's token.
        email: Address of the first administrator.
        name: Name to show of the first administrator.
        password_hash: Encoded hash of the password, which passed `check_password`.

    Raises:
        Gone: The link is not valid any more.
    """
    link = usable_link(work, state, token)
    link.used = state.now()
    if link.user_id is None:
        return create_admin(work, state, email=email, name=name, password_hash=password_hash)
    user = users.get(work, link.user_id)
    return users.update(work, state, user, {"password_hash": password_hash})


def issue_bootstrap_token(state: AppState) -> str | None:
    """Returns a token of five minutes for the oldest administrator, for the machine's own root; None if there is none.

    Args:
        state: The application's state, made from the same keys and database as the api's.
    """
    with UnitOfWork(state.database) as work:
        condition = (User.is_superuser.is_(True), User.is_active.is_(True), User.deleted.is_(None))
        admin = work.session.scalars(select(User).where(*condition).order_by(User.created).limit(1)).first()
        if admin is None:
            return None
        now = state.now()
        session = Session(
            id=uuid.uuid4(),
            principal_id=admin.id,
            principal_kind="user",
            kind="password",
            user_agent="nagaya up",
            expires=now + dt.timedelta(seconds=BOOTSTRAP_SECONDS),
        )
        work.session.add(session)
        audit.record(work, "session.create", audit.Target("user", admin.id, admin.username), details={"kind": "root"})
        return state.tokens.issue(
            "session", admin.id, audience=PLATFORM_AUDIENCE, seconds=BOOTSTRAP_SECONDS, session_id=session.id
        )


def _link(work: UnitOfWork, state: AppState, purpose: str, user_id: uuid.UUID | None, email: str | None) -> str:
    token = secrets.token_urlsafe(32)
    work.session.add(
        SetupLink(
            purpose=purpose,
            user_id=user_id,
            token_hash=state.keys.keyed_hash("setup-link", token),
            expires=state.now() + dt.timedelta(seconds=state.settings.setup_link_seconds),
            details={"email": email} if email else {},
        )
    )
    return f"{state.settings.public_url}/setup?token={token}"
