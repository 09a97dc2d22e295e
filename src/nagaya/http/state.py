"""What the three applications of the api process share: settings, database, keys, clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import Depends, Request

from nagaya.db.base import utc_now

if TYPE_CHECKING:
    from nagaya.db.engine import Database
    from nagaya.http.settings import ApiSettings
    from nagaya.identity.activity import Activity
    from nagaya.identity.keys import Keys
    from nagaya.identity.passwords import Passwords
    from nagaya.identity.tokens import Tokens


@dataclass
class AppState:
    """The parts of one api process.

    Args:
        settings: Settings of the api.
        database: The control database.
        keys: Master key (or what is derived from it) and signing key.
        tokens: Issues and verifies the platform's tokens.
        passwords: Hashes and verifies passwords off the event loop.
        activity: Last uses of sessions and keys.
        now: The clock; tests replace it.
        extras: Objects of other packages, by name, e.g. the connection to the keeper.
    """

    settings: ApiSettings
    database: Database
    keys: Keys
    tokens: Tokens
    passwords: Passwords
    activity: Activity
    now: Callable[[], dt.datetime] = utc_now
    extras: dict[str, Any] = field(default_factory=dict)
    write_gate: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    """Held by the one request of this process that may write (see `nagaya.http.transactions`)."""


def app_state(request: Request) -> AppState:
    """Returns the state of the application that serves `request`."""
    state: AppState = request.app.state.nagaya
    return state


State = Annotated[AppState, Depends(app_state)]
