"""The life of a tenant as a table: every state, every event, and the state that follows or the reason why none does.

States are pairs of what is wanted and what is, because the contract with ZenML's clients has one word, `pending`, for
everything that is under way (wire contract: `WorkspaceRead.status`).
"""

from enum import StrEnum
from typing import Final, NamedTuple

from nagaya.errors import Conflict


class State(StrEnum):
    """Where a tenant stands."""

    DEPLOYING = "deploying"
    AVAILABLE = "available"
    FAILED = "failed"
    DEACTIVATING = "deactivating"
    DEACTIVATED = "deactivated"
    DELETING = "deleting"
    DELETED = "deleted"
    PURGED = "purged"


class Event(StrEnum):
    """What can happen to a tenant: acts of people first, then what the runtime reports."""

    DEPLOY = "deploy"
    DEACTIVATE = "deactivate"
    DELETE = "delete"
    RESTORE = "restore"
    READY = "ready"
    SPAWN_FAILED = "spawn_failed"
    STOPPED = "stopped"
    REMOVED = "removed"
    PURGE = "purge"


class Stored(NamedTuple):
    """A state as the two columns hold it."""

    desired_state: str
    status: str


STORED: Final[dict[State, Stored]] = {
    State.DEPLOYING: Stored("available", "pending"),
    State.AVAILABLE: Stored("available", "available"),
    State.FAILED: Stored("available", "failed"),
    State.DEACTIVATING: Stored("deactivated", "pending"),
    State.DEACTIVATED: Stored("deactivated", "deactivated"),
    State.DELETING: Stored("deleted", "pending"),
    State.DELETED: Stored("deleted", "deleted"),
    State.PURGED: Stored("deleted", "not_initialized"),
}
_STATES: Final = {stored: state for state, stored in STORED.items()}

PEOPLE: Final = frozenset({Event.DEPLOY, Event.DEACTIVATE, Event.DELETE, Event.RESTORE})
"""Events that people cause; one that does not fit is refused. A report of the runtime that does not fit is stale."""
SETTLED: Final = frozenset({State.AVAILABLE, State.FAILED, State.DEACTIVATED, State.DELETED, State.PURGED})
"""States in which nothing is under way."""

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.DEPLOYING: {
        Event.READY: State.AVAILABLE,
        Event.SPAWN_FAILED: State.FAILED,
        Event.DEACTIVATE: State.DEACTIVATING,
        Event.DELETE: State.DELETING,
    },
    State.AVAILABLE: {
        Event.READY: State.AVAILABLE,
        Event.SPAWN_FAILED: State.FAILED,
        Event.DEACTIVATE: State.DEACTIVATING,
        Event.DELETE: State.DELETING,
    },
    State.FAILED: {
        Event.READY: State.AVAILABLE,
        Event.SPAWN_FAILED: State.FAILED,
        Event.DEPLOY: State.DEPLOYING,
        Event.DEACTIVATE: State.DEACTIVATING,
        Event.DELETE: State.DELETING,
    },
    State.DEACTIVATING: {
        Event.STOPPED: State.DEACTIVATED,
        Event.DEPLOY: State.DEPLOYING,
        Event.DELETE: State.DELETING,
    },
    State.DEACTIVATED: {
        Event.DEPLOY: State.DEPLOYING,
        Event.DELETE: State.DELETING,
    },
    State.DELETING: {
        Event.REMOVED: State.DELETED,
        Event.RESTORE: State.DEPLOYING,
    },
    State.DELETED: {
        Event.RESTORE: State.DEPLOYING,
        Event.PURGE: State.PURGED,
    },
    State.PURGED: {},
}

REFUSALS: Final[dict[tuple[State, Event], str]] = {
    (State.DEPLOYING, Event.DEPLOY): "{name} is being deployed already.",
    (State.AVAILABLE, Event.DEPLOY): "{name} is deployed already.",
    (State.DEACTIVATING, Event.DEACTIVATE): "{name} is being deactivated already.",
    (State.DEACTIVATED, Event.DEACTIVATE): "{name} is deactivated already.",
    (State.DELETING, Event.DEPLOY): "{name} is being deleted: restore it instead of deploying it.",
    (State.DELETING, Event.DEACTIVATE): "{name} is being deleted: restore it before you deactivate it.",
    (State.DELETING, Event.DELETE): "{name} is being deleted already.",
    (State.DELETED, Event.DEPLOY): "{name} is deleted: restore it instead of deploying it.",
    (State.DELETED, Event.DEACTIVATE): "{name} is deleted: restore it before you deactivate it.",
    (State.DELETED, Event.DELETE): "{name} is deleted already.",
    **{
        (state, Event.RESTORE): "{name} is not deleted: there is nothing to restore."
        for state in (State.DEPLOYING, State.AVAILABLE, State.FAILED, State.DEACTIVATING, State.DEACTIVATED)
    },
    **{(State.PURGED, event): "{name} was removed for good." for event in PEOPLE},
}


def state_of(desired_state: str, status: str) -> State:
    """Returns the state that two columns hold.

    Raises:
        KeyError: No state is stored like that.
    """
    return _STATES[Stored(desired_state, status)]


def follow(state: State, event: Event, name: str) -> State:
    """Returns the state after an event that a person caused.

    Args:
        state: The state before.
        event: What is asked for.
        name: How to call the tenant in the refusal.

    Raises:
        Conflict: The event does not fit the state; the message says why and what to do.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise Conflict(REFUSALS[state, event].format(name=name))
    return after


def observe(state: State, event: Event) -> State:
    """Returns the state after a report of the runtime: the same, if the report does not fit and is therefore stale."""
    return TRANSITIONS[state].get(event, state)
