"""Signing in with user name and password: throttled, recorded, and equally slow for unknown names."""

import datetime as dt
import uuid
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy.orm import Session as Db

from nagaya import audit
from nagaya.audit import repository as audit_repository
from nagaya.errors import NotAuthenticated, TooManyRequests
from nagaya.http.state import AppState
from nagaya.http.transactions import Origin, UnitOfWork, transact
from nagaya.identity import repository
from nagaya.identity.principal import CredentialKind
from nagaya.identity.service import sessions

ACTION = "session.create"
ADDRESS_FACTOR = 10
"""How many times as many failures one address may have over all accounts, because many people can share one."""
FAILED = "User name or password is wrong."


@dataclass(frozen=True)
class Candidate:
    """Who a password may belong to; nothing, if nobody may sign in under that name.

    Args:
        user_id: The user.
        password_hash: The stored hash.
    """

    user_id: uuid.UUID | None
    password_hash: str | None


async def sign_in(
    state: AppState, origin: Origin, place: sessions.Place, *, login: str, password: str, kind: CredentialKind
) -> sessions.Issued:
    """Verifies a password and begins a session.

    Args:
        state: The application's state.
        origin: Where the request comes from, for the audit record.
        place: From where.
        login: User name or email.
        password: The password.
        kind: `browser` or `password`.

    Raises:
        NotAuthenticated: Wrong, unknown or inactive; the message is the same for all.
        TooManyRequests: Too many failures lately.
        Unavailable: Too many sign-ins are waiting.
    """
    name = login[:200]
    async with state.passwords.slot():
        # Looked up, verified and recorded while holding the place, so that parallel attempts cannot pass uncounted.
        candidate = await to_thread.run_sync(candidate_of, state, name, place.address)
        if await state.passwords.verify(candidate.password_hash, password):
            assert candidate.user_id is not None
            user_id, old_hash = candidate.user_id, candidate.password_hash
            renewed = await state.passwords.hash(password) if state.passwords.outdated(old_hash or "") else None

            def begin(work: UnitOfWork) -> sessions.Issued | None:
                user = repository.user(work.session, user_id)
                if user is None or not user.is_active or user.password_hash != old_hash:
                    return None
                user.password_hash = renewed or old_hash
                return sessions.begin(work, state, user, kind, place)

            issued = await transact(state, origin, begin)
            if issued is not None:
                return issued
        await transact(state, origin, lambda work: record_failure(work, candidate, name))
    raise NotAuthenticated(FAILED)


def candidate_of(state: AppState, login: str, address: str) -> Candidate:
    """Returns who may sign in under a name.

    Args:
        state: The application's state.
        login: User name or email.
        address: From where.

    Raises:
        TooManyRequests: Too many failures lately.
    """
    with state.database.read() as db:
        user = repository.user_by_login(db, login)
        if user is None or not user.is_active:
            _throttle(state, db, address, target_name=login)
            return Candidate(None, None)
        # By id: one account goes by several names, and by each of them in any case.
        familiar = repository.signed_in_from(db, user.id, address)
        _throttle(state, db, address, familiar=familiar, target_id=str(user.id))
        return Candidate(user.id, user.password_hash)


def _throttle(state: AppState, db: Db, address: str, *, familiar: bool = False, **target: str) -> None:
    """Refuses too many guesses: of one address at one account, of one address, and of all addresses at one account.

    The last would let strangers lock somebody out, so it spares addresses that are `familiar`.
    """
    settings = state.settings
    since = state.now() - dt.timedelta(seconds=settings.login_window)
    here = audit_repository.count(db, ACTION, "denied", since, address=address, **target)
    total = audit_repository.count(db, ACTION, "denied", since, address=address)
    # Unknown names too: who exists must not show in how many guesses there are.
    everywhere = audit_repository.count(db, ACTION, "denied", since, **target)
    if (
        here >= settings.login_attempts
        or total >= settings.login_attempts * ADDRESS_FACTOR
        or (everywhere >= settings.login_attempts * settings.account_factor and not familiar)
    ):
        raise TooManyRequests(
            f"Too many failed sign-ins; try again in {settings.login_window // 60 or 1} minutes.",
            retry_after=settings.login_window,
            limit=settings.login_attempts,
        )


def record_failure(work: UnitOfWork, candidate: Candidate, login: str) -> None:
    """Records a wrong password, which also counts for throttling.

    Args:
        work: The unit of work.
        candidate: Whose password it was not.
        login: The name that was given.
    """
    target = audit.Target("user", candidate.user_id or "", "".join(c for c in login if c.isprintable()))
    audit.record(work, ACTION, target, outcome="denied", reason="wrong password, unknown or inactive user")
