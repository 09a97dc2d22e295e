"""The rules of users: creation, change, deactivation, deletion, passwords."""

import re
import uuid
from typing import Any

from nagaya import audit
from nagaya.access.changes import everybody_changed, principal_changed
from nagaya.errors import Conflict, Forbidden, NotFound
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import ApiKey, User
from nagaya.identity.principal import Principal
from nagaya.identity.service import sessions

RESERVED_NAMES = frozenset({"anonymous", "default", "nagaya", "system", "zenml"})
"""Names that accounts of the software bear: `nagaya` owns the platform's rows in every tenant, `default` is ZenML's own
first user, the others stand for nobody in particular in the audit log. A person of such a name would pass for them."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


def get(work: UnitOfWork, user_id: uuid.UUID) -> User:
    """Returns a user.

    Raises:
        NotFound: There is none with this id.
    """
    user = repository.user(work.session, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def find(work: UnitOfWork, id_or_login: str) -> User:
    """Returns the user with an id, an e-mail address (in any case) or a user name.

    Raises:
        NotFound: There is none.
    """
    try:
        return get(work, uuid.UUID(id_or_login))
    except ValueError:
        user = repository.user_by_login(work.session, id_or_login)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def require_allowed(username: str, field: str = "username") -> None:
    """Checks that an account may bear a name.

    Args:
        username: The name that a new user or service account is to have.
        field: What the API calls it there.

    Raises:
        Conflict: It is reserved.
    """
    if username in RESERVED_NAMES:
        raise Conflict(
            f"The name {username!r} is reserved for the software itself: choose another one.",
            fields={field: "is reserved"},
        )


def free_username(work: UnitOfWork, email: str) -> str:
    """Returns a user name made from an email that nobody has or ever had."""
    stem = _NOT_IN_NAMES.sub("-", email.partition("@")[0].lower()).strip("-._")[:50] or "user"
    if len(stem) < 2:
        stem = f"user-{stem}"
    name, number = stem, 1
    while name in RESERVED_NAMES or repository.name_taken(work.session, name):
        number += 1
        name = f"{stem}-{number}"
    return name


def create(
    work: UnitOfWork,
    *,
    email: str,
    username: str | None,
    name: str,
    password_hash: str | None,
    superuser: bool,
) -> User:
    """Creates a user.

    Args:
        work: The unit of work.
        email: Address, unique in any case.
        username: User name; made from the email if None.
        name: Name to show.
        password_hash: Encoded hash; without one the user cannot sign in with a password.
        superuser: Whether to give every right.

    Raises:
        Conflict: The email or user name belongs, or belonged, to somebody, or the name is reserved.
    """
    if username is not None:
        require_allowed(username)
    if repository.email_taken(work.session, email):
        raise Conflict("There is, or was, a user with this email.", fields={"email": "is taken"})
    if username is None:
        username = free_username(work, email)
    elif repository.name_taken(work.session, username):
        raise Conflict(
            "This user name belongs, or belonged, to somebody; tenants would take the new account for the old one.",
            fields={"username": "is taken"},
        )
    user = User(
        id=uuid.uuid4(),
        email=email,
        username=username,
        name=name,
        password_hash=password_hash,
        is_superuser=superuser,
        is_active=True,
        valid_after=0,
    )
    work.session.add(user)
    audit.record(work, "user.create", audit.Target("user", user.id, username), details={"superuser": superuser})
    work.session.flush()
    if superuser:
        everybody_changed(work)
    return user


def update(work: UnitOfWork, state: AppState, user: User, changes: dict[str, Any]) -> User:
    """Changes a user.

    Args:
        work: The unit of work.
        state: The application's state.
        user: The user.
        changes: New values of `name`, `email`, `is_active`, `is_superuser` and `password_hash`, what is to change only.

    Raises:
        Conflict: The email is taken, or no superuser would be left.
    """
    email = changes.get("email")
    if email and email.lower() != user.email.lower() and repository.email_taken(work.session, email):
        raise Conflict("There is, or was, a user with this email.", fields={"email": "is taken"})
    rank_changes = "is_superuser" in changes and changes["is_superuser"] != user.is_superuser
    loses = changes.get("is_superuser") is False or changes.get("is_active") is False
    if loses and user.is_superuser and user.is_active and repository.superusers(work.session) == 1:
        raise Conflict("This is the last superuser; make another one first.")
    locked_out = changes.get("is_active") is False and user.is_active
    for field, value in changes.items():
        setattr(user, field, value)
    if locked_out:
        _shut_out(work, state, user)
    elif "password_hash" in changes:
        sessions.end_all(work, state, user.id)
    action = "user.deactivate" if locked_out else "user.update"
    audit.record(
        work,
        action,
        audit.Target("user", user.id, user.username),
        details={"fields": sorted("password" if field == "password_hash" else field for field in changes)},
    )
    work.session.flush()
    if rank_changes:
        everybody_changed(work)
    else:
        principal_changed(work, user.id)
    return user


def delete(work: UnitOfWork, state: AppState, user: User, by: Principal) -> None:
    """Deletes a user; the row stays, so that the name is never given away again.

    Args:
        work: The unit of work.
        state: The application's state.
        user: The user.
        by: Who deletes.

    Raises:
        Forbidden: Somebody wants to delete the own account.
        Conflict: No superuser would be left.
    """
    if user.id == by.id:
        raise Forbidden("You cannot delete your own account; ask another superuser.")
    if user.is_superuser and user.is_active and repository.superusers(work.session) == 1:
        raise Conflict("This is the last superuser; make another one first.")
    _shut_out(work, state, user)
    user.is_active = False
    user.deleted = state.now()
    for key in work.session.scalars(repository.api_keys(user.id)):
        _revoke(key, state)
    audit.record(work, "user.delete", audit.Target("user", user.id, user.username))
    work.session.flush()
    principal_changed(work, user.id)


def change_password(work: UnitOfWork, state: AppState, principal: Principal, password_hash: str) -> None:
    """Sets the caller's own new password and ends all other sessions of the caller.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: The caller, whose old password was verified.
        password_hash: Encoded hash of the new one.
    """
    user = get(work, principal.id)
    user.password_hash = password_hash
    ended = sessions.end_all(work, state, user.id, keep=principal.session_id)
    audit.record(
        work, "user.change_password", audit.Target("user", user.id, user.username), details={"ended_sessions": ended}
    )
    principal_changed(work, user.id)


def _shut_out(work: UnitOfWork, state: AppState, user: User) -> None:
    # One second ahead, because `iat` has whole seconds: a token of this very second must not survive.
    user.valid_after = int(state.now().timestamp()) + 1
    sessions.end_all(work, state, user.id)


def _revoke(key: ApiKey, state: AppState) -> None:
    key.revoked = key.revoked or state.now()
