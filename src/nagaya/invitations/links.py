"""The secret of an invitation's link: what it opens, how guesses are bounded, and joining by it."""

import datetime as dt
import uuid
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy.orm import Session

from nagaya import audit
from nagaya.audit import repository as audit_repository
from nagaya.errors import Gone, InvalidInput, NotAuthenticated, TooManyRequests
from nagaya.http.state import AppState
from nagaya.http.transactions import Origin, UnitOfWork, transact
from nagaya.identity.models import User
from nagaya.identity.passwords import check_password
from nagaya.identity.principal import Principal
from nagaya.identity.service import users
from nagaya.invitations import acceptance, repository
from nagaya.invitations.acceptance import NOT_VALID, Joined
from nagaya.invitations.models import Invitation
from nagaya.invitations.reading import read_invitations
from nagaya.invitations.schemas import InvitationRead
from nagaya.invitations.service import PURPOSE
from nagaya.organizations.models import Organization

ACTION = "invitation.accept"


@dataclass(frozen=True, slots=True)
class Opened:
    """What the bearer of a link may see.

    Args:
        invitation: The invitation.
        has_account: Whether somebody with the address has an account, and so has to sign in.
    """

    invitation: InvitationRead
    has_account: bool


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What a person without an account chooses.

    Args:
        username: User name; made from the address if None.
        name: Name to show.
        password: Password, not checked yet.
    """

    username: str | None
    name: str
    password: str


async def look(state: AppState, origin: Origin, token: str) -> Opened:
    """Returns what the invitation of a link says.

    Args:
        state: The application's state.
        origin: Where the request comes from.
        token: The link's secret.

    Raises:
        Gone: There is no open invitation with this secret. Counted by address.
        TooManyRequests: Too many wrong secrets came from this address lately.
    """
    found = await to_thread.run_sync(_read, state, token, origin.address)
    if found is None:
        await transact(state, origin, _record_guess)
        raise Gone(NOT_VALID)
    return found


async def join(
    state: AppState, origin: Origin, token: str, principal: Principal | None, new: NewAccount | None
) -> Joined:
    """Accepts the invitation of a link, with the account of the visitor or a new one.

    Args:
        state: The application's state.
        origin: Where the request comes from.
        token: The link's secret.
        principal: Who is signed in, if somebody is.
        new: What to make a new account of, if nobody is.

    Raises:
        Gone: The invitation cannot be accepted any more.
        NotAuthenticated: The person has an account and is not signed in.
        InvalidInput: A password is missing or breaks a rule.
        Forbidden: Somebody with another address is signed in.
        Conflict: Whoever invited may not give all of it any more, or the user name is taken.
        TooManyRequests: Too many wrong secrets came from this address lately.
    """
    opened = await look(state, origin, token)
    if principal is not None:
        who = principal.id
        return await transact(state, origin, lambda work: _accept(work, state, token, users.get(work, who)))
    if opened.has_account:
        raise NotAuthenticated(f"{opened.invitation.email} has an account: sign in first, then accept.")
    if new is None:
        raise InvalidInput("Choose a password for the new account.", fields={"password": "is missing"})
    email, chosen = opened.invitation.email, new
    if chosen.username is not None:
        users.require_allowed(chosen.username)
    check_password(chosen.password, email, chosen.username or "")
    async with state.passwords.slot():
        hashed = await state.passwords.hash(chosen.password)

    def create(work: UnitOfWork) -> Joined:
        # Looked up anew: of two who use the link at once the second must not get an account either.
        _usable(work.session, state, token)
        user = users.create(
            work, email=email, username=chosen.username, name=chosen.name, password_hash=hashed, superuser=False
        )
        return _accept(work, state, token, user)

    return await transact(state, origin, create)


def _accept(work: UnitOfWork, state: AppState, token: str, user: User) -> Joined:
    origin = work.origin
    origin.actor_kind, origin.actor_id, origin.actor_name = "user", user.id, user.username
    return acceptance.accept(work, _usable(work.session, state, token), user, state.now())


def _usable(session: Session, state: AppState, token: str) -> Invitation:
    invitation = _find(session, state, token)
    if invitation is None:
        raise Gone(NOT_VALID)
    return invitation


def _find(session: Session, state: AppState, token: str) -> Invitation | None:
    invitation = repository.by_token(session, state.keys.keyed_hash(PURPOSE, token))
    if invitation is None or not acceptance.usable(invitation, state.now()):
        return None
    organization = session.get(Organization, invitation.organization_id)
    return None if organization is None or organization.deleted is not None else invitation


def _read(state: AppState, token: str, address: str) -> Opened | None:
    with state.database.read() as session:
        window = state.settings.login_window
        since = state.now() - dt.timedelta(seconds=window)
        if audit_repository.count(session, ACTION, "denied", since, address=address) >= state.settings.login_attempts:
            raise TooManyRequests(
                f"Too many links that are not valid; try again in {window // 60 or 1} minutes.", retry_after=window
            )
        invitation = _find(session, state, token)
        if invitation is None:
            return None
        has_account = repository.user_with(session, invitation.email) is not None
        return Opened(read_invitations(session, [invitation], state.now())[0], has_account)


def _record_guess(work: UnitOfWork) -> None:
    target = audit.Target("invitation", uuid.UUID(int=0))
    audit.record(work, ACTION, target, outcome="denied", reason="no open invitation has this link")
