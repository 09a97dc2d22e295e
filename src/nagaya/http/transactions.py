"""One database transaction per request, committed before the answer leaves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import anyio
from anyio import to_thread
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from nagaya.db.engine import Database
from nagaya.errors import Unavailable
from nagaya.http.state import AppState, app_state

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
GATE_SECONDS = 20.0
Hook = Callable[[], None]
T = TypeVar("T")

# Threads of their own: the shared ones may all be waiting for the very transaction that is to be committed.
_finishers = anyio.CapacityLimiter(8)


@dataclass
class Origin:
    """Who acts and from where, for the audit record."""

    actor_kind: str = "system"
    actor_id: uuid.UUID | None = None
    actor_name: str = "nagaya"
    request_id: str | None = None
    address: str = ""


class UnitOfWork:
    """The session of one request and what is to happen after its commit.

    Args:
        database: The control database.
        read_only: Whether the request may not write.
        origin: Who acts; by default the platform itself.
    """

    def __init__(self, database: Database, *, read_only: bool = False, origin: Origin | None = None) -> None:
        self.session = database.read() if read_only else database.write()
        self.read_only = read_only
        self.origin = origin or Origin()
        self._after_commit: list[Hook] = []

    def after_commit(self, hook: Hook) -> None:
        """Runs `hook` once the transaction is durable; never if it is rolled back."""
        self._after_commit.append(hook)

    def commit(self) -> None:
        """Commits and runs the hooks."""
        self.session.commit()
        for hook in self._after_commit:
            hook()
        self._after_commit.clear()

    def close(self) -> None:
        """Rolls back what was not committed and gives the connection back."""
        self.session.close()

    def __enter__(self) -> UnitOfWork:
        """Returns the unit itself; for work outside of requests."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commits, or rolls back if the block failed."""
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()


class TransactionRoute(APIRoute):
    """Commits the request's unit of work after the endpoint has produced its answer and before the answer is sent.

    A dependency with `yield` would end too late: the caller could read "created" before the row is durable.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns FastAPI's handler with the transaction around it."""
        handler = super().get_route_handler()

        async def transactional(request: Request) -> Response:
            try:
                response = await handler(request)
                await finish(request, commit=True)
                return response
            finally:
                # A cancelled request must not keep the write lock.
                with anyio.CancelScope(shield=True):
                    await finish(request, commit=False)

        return transactional


async def finish(request: Request, *, commit: bool) -> None:
    """Commits the request's unit of work, or closes it and lets the next writer in.

    Args:
        request: The request.
        commit: Commit; otherwise roll back what was not committed. Both do nothing if no unit was begun.
    """
    work: UnitOfWork | None = getattr(request.state, "work", None)
    if work is None:
        return
    if commit:
        await to_thread.run_sync(work.commit, limiter=_finishers)
        return
    request.state.work = None
    try:
        await to_thread.run_sync(work.close, limiter=_finishers)
    finally:
        if not work.read_only:
            app_state(request).write_gate.release()


def origin_of(request: Request) -> Origin:
    """Returns who makes the request, as far as is known by now."""
    origin: Origin | None = getattr(request.state, "origin", None)
    if origin is None:
        origin = Origin(
            actor_kind="anonymous",
            actor_name="",
            request_id=getattr(request.state, "request_id", None),
            address=address_of(request),
        )
        request.state.origin = origin
    return origin


def address_of(request: Request) -> str:
    """Returns the caller's address as the gateway, the only one that can reach the api's socket, reports it."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
    return (forwarded or (request.client.host if request.client else ""))[:64]


async def _take_turn(state: AppState) -> None:
    """Waits until this process has no other writer.

    Waiting inside the database would fill the thread pool, and the transaction that all wait for could not get a thread
    to end in. Here writers wait in order, without holding a thread or a connection.

    Raises:
        Unavailable: No turn came within `GATE_SECONDS`.
    """
    with anyio.move_on_after(GATE_SECONDS) as scope:
        await state.write_gate.acquire()
    if scope.cancelled_caught:
        raise Unavailable("The database is busy; try again in a moment.", headers={"Retry-After": "1"})


async def unit_of_work(request: Request) -> UnitOfWork:
    """Returns the request's unit of work, made on first use.

    Raises:
        Unavailable: Other writers did not finish in time.
    """
    work: UnitOfWork | None = getattr(request.state, "work", None)
    if work is not None:
        return work
    state: AppState = app_state(request)
    read_only = request.method in SAFE_METHODS
    if not read_only:
        await _take_turn(state)
    work = UnitOfWork(state.database, read_only=read_only, origin=origin_of(request))
    request.state.work = work
    return work


async def transact(state: AppState, origin: Origin, function: Callable[[UnitOfWork], T]) -> T:
    """Runs `function` in a transaction of its own and commits it, whatever becomes of the request.

    For endpoints that do something slow before they write, and for records of failures.

    Args:
        state: The application's state.
        origin: Who acts.
        function: Gets the unit of work; runs in a thread.

    Raises:
        Unavailable: Other writers did not finish in time.
    """

    def run() -> T:
        with UnitOfWork(state.database, origin=origin) as work:
            return function(work)

    await _take_turn(state)
    try:
        return await to_thread.run_sync(run, limiter=_finishers)
    finally:
        state.write_gate.release()


async def session(work: Annotated[UnitOfWork, Depends(unit_of_work)]) -> Session:
    """Returns the session of the request."""
    return work.session


Work = Annotated[UnitOfWork, Depends(unit_of_work)]
Db = Annotated[Session, Depends(session)]
