"""One database transaction per request, committed before the answer leaves."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from nagaya.db.engine import Database

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
Hook = Callable[[], None]


class UnitOfWork:
    """The session of one request and what is to happen after its commit.

    Args:
        database: The control database.
        read_only: Whether the request may not write.
    """

    def __init__(self, database: Database, *, read_only: bool) -> None:
        self.session = database.read() if read_only else database.write()
        self.read_only = read_only
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
                work: UnitOfWork | None = getattr(request.state, "work", None)
                if work is not None:
                    await to_thread.run_sync(work.commit)
                return response
            finally:
                work = getattr(request.state, "work", None)
                if work is not None:
                    await to_thread.run_sync(work.close)

        return transactional


def unit_of_work(request: Request) -> UnitOfWork:
    """Returns the request's unit of work, made on first use."""
    work: UnitOfWork | None = getattr(request.state, "work", None)
    if work is None:
        work = UnitOfWork(request.app.state.database, read_only=request.method in SAFE_METHODS)
        request.state.work = work
    return work


def session(work: Annotated[UnitOfWork, Depends(unit_of_work)]) -> Iterator[Session]:
    """Yields the session of the request."""
    yield work.session


Work = Annotated[UnitOfWork, Depends(unit_of_work)]
Db = Annotated[Session, Depends(session)]
