"""Words for what pages show: initials, the state of a tenant, the program behind a session."""

import re
from dataclasses import dataclass

from nagaya.tenants.lifecycle import State, state_of
from nagaya.tenants.models import Tenant

_PROGRAMS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("python-requests/", "Python"),
    ("curl/", "curl"),
)
"""Marks in `User-Agent` in the order in which to look: most browsers carry the marks of others as well."""
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True)
class Shown:
    """How a page shows the state of a tenant.

    Args:
        label: One or two words.
        tone: Class of the style sheet: `good`, `busy`, `bad` or nothing.
        note: A sentence that explains it; may be empty.
        usable: Whether clients can connect, or soon can.
        remedies: Commands of `nagaya tenant` that help, for those who may operate the tenant.
    """

    label: str
    tone: str
    note: str
    usable: bool
    remedies: tuple[str, ...] = ()


_STATES = {
    State.DEPLOYING: Shown("Deploying", "busy", "The tenant is being started; this takes a few seconds.", usable=True),
    State.FAILED: Shown(
        "Failed",
        "bad",
        "The tenant could not be started.",
        usable=False,
        remedies=("logs", "deploy"),
    ),
    State.DEACTIVATING: Shown("Deactivating", "busy", "The tenant is being stopped; its data stays.", usable=False),
    State.DEACTIVATED: Shown(
        "Deactivated",
        "",
        "The tenant is stopped and keeps its data. An administrator can activate it.",
        usable=False,
        remedies=("deploy",),
    ),
    State.DELETING: Shown("Deleting", "busy", "The tenant is being deleted.", usable=False),
    State.PURGED: Shown("Deleted", "", "The tenant was deleted for good.", usable=False),
}
_WAITING = Shown("Waiting", "busy", "", usable=True)
_AWAKE = Shown("Available", "good", "", usable=True)
_ASLEEP = Shown(
    "Asleep", "good", "Nobody has used the tenant for a while, so it sleeps. The next request wakes it.", usable=True
)


def state_shown(tenant: Tenant) -> Shown:
    """Returns how to show where a tenant stands.

    Args:
        tenant: The tenant.
    """
    state = state_of(tenant.desired_state, tenant.status)
    if tenant.enrolled and state is State.DEPLOYING:
        return _WAITING
    if state is State.AVAILABLE:
        return _ASLEEP if tenant.activity == "asleep" else _AWAKE
    if state is State.DELETED:
        until = f" until {tenant.purge_after:%Y-%m-%d %H:%M} UTC" if tenant.purge_after else ""
        note = f"The tenant was deleted. An administrator can restore it{until}."
        return Shown("Deleted", "", note, usable=False, remedies=("restore",))
    return _STATES[state]


def initials(name: str) -> str:
    """Returns one or two letters that stand for a name.

    Args:
        name: Any name; of one without letters its first character is taken.
    """
    words = re.findall(r"[^\W_]+", name)
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or name[:1] or "?"


def agent(user_agent: str) -> str:
    """Returns a short name of the program that sent a `User-Agent`; the start of the header if it is not known.

    Args:
        user_agent: The header; ZenML's clients send `Host/<name> ZenML/<version> …`.
    """
    client = re.search(r"\bZenML/(\S{1,30})", user_agent)
    host = re.search(r"\bHost/(\S{1,100})", user_agent)
    if client is not None:
        return f"ZenML {client[1]}" + (f" on {host[1]}" if host else "")
    program = next((name for mark, name in _PROGRAMS if mark in user_agent), None)
    if program is None:
        return user_agent[:60] or "Unknown program"
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    return f"{program} on {system}" if system else program


def sentence(text: str) -> str:
    """Returns `text` with a capital letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
