"""Delivers "these tenants changed" inside one process, from the thread that committed to whoever subscribed."""

import threading
import uuid
from collections.abc import Callable
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

Listener = Callable[[tuple[uuid.UUID, ...]], None]

_lock = threading.Lock()
_listeners: WeakKeyDictionary[Engine, list[Listener]] = WeakKeyDictionary()


def subscribe(engine: Engine, listener: Listener) -> Callable[[], None]:
    """Calls `listener` after each commit that changed tenants, in the thread that committed.

    Args:
        engine: The control database.
        listener: Takes the ids; must return at once and not raise.

    Returns:
        A function that ends the subscription.
    """
    with _lock:
        _listeners.setdefault(engine, []).append(listener)

    def unsubscribe() -> None:
        with _lock:
            _listeners.get(engine, []).remove(listener)

    return unsubscribe


def deliver(bind: Engine | Connection, tenant_ids: tuple[uuid.UUID, ...]) -> None:
    """Hands ids to all listeners of a database."""
    with _lock:
        listeners = tuple(_listeners.get(bind.engine, ()))
    for listener in listeners:
        listener(tenant_ids)
