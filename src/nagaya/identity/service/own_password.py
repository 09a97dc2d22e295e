"""Checks the old password of somebody who wants a new one, throttled like a sign-in."""

from anyio import to_thread
from fastapi import Request

from nagaya.errors import InvalidInput
from nagaya.http.state import AppState
from nagaya.http.transactions import address_of, origin_of, transact
from nagaya.identity.principal import Principal
from nagaya.identity.service import login


async def verify_and_hash(state: AppState, request: Request, principal: Principal, old: str, new: str) -> str:
    """Returns the encoded hash of the new password.

    Args:
        state: The application's state.
        request: The request.
        principal: The caller.
        old: What the caller says the old password is.
        new: The new one, which passed `check_password`.

    Raises:
        InvalidInput: The old password is wrong.
        TooManyRequests: Too many failures lately.
    """
    address = address_of(request)
    async with state.passwords.slot():
        candidate = await to_thread.run_sync(login.candidate_of, state, principal.username, address)
        right = await state.passwords.verify(candidate.password_hash, old)
        if not right:
            await transact(
                state,
                origin_of(request),
                lambda work: login.record_failure(work, candidate, principal.username),
            )
    if not right:
        raise InvalidInput("The old password is wrong.", fields={"old_password": "is wrong"})
    return await state.passwords.hash(new)
