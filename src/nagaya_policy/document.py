"""The policy document: strict reading of its parts, and the application of a delta to it.

The shape is fixed in docs/reference/internals.md, section "Policy document". Keys that this version does not know are
ignored, so that a newer platform can add to schema 1; everything that it does know must have the right form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

from nagaya_policy.errors import PolicyBaseError, PolicyError, PolicySchemaError, ResourceError
from nagaya_policy.principals import Grant, Principal
from nagaya_policy.resources import Resource, is_uuid, parse_resource
from nagaya_policy.roles import LEVELS, ORGANIZATION, PREDEFINED_ROLES, PROJECT, TENANT, Role, permissions_of_level

SCHEMA: Final = 1
PRINCIPAL_KINDS: Final = ("user", "service_account")
Document = Mapping[str, Any]


class _Entry:
    """A JSON object within the document together with its place, for messages that say where something is wrong."""

    __slots__ = ("data", "where")

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            raise PolicyError(f"{where} must be an object, not {type(data).__name__}.")
        self.data: Mapping[str, Any] = data
        self.where = where

    def get(self, key: str, kinds: type | tuple[type, ...], default: Any, expected: str) -> Any:
        value = self.data.get(key, default)
        # JSON's true is an instance of int in Python, but never a number in a policy.
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise PolicyError(f"{self.where}: {key} must be {expected}, not {value!r}.")
        # NaN compares false with everything and would switch a rule off.
        if isinstance(value, float) and not isfinite(value):
            raise PolicyError(f"{self.where}: {key} must be {expected}, not {value!r}.")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self.get(key, str, default, "a text")
        if not value:
            raise PolicyError(f"{self.where}: {key} must not be empty.")
        return value

    def optional_text(self, key: str) -> str | None:
        value: str | None = self.get(key, (str, type(None)), None, "a text or null")
        return value

    def number(self, key: str, default: float) -> float:
        value: float = self.get(key, (int, float), default, "a number")
        return value

    def moment(self, key: str) -> float | None:
        value: float | None = self.get(key, (int, float, type(None)), None, "a time in seconds or null")
        return value

    def child(self, key: str) -> _Entry:
        return _Entry(self.data.get(key, {}), f"{self.where}: {key}")

    def items(self, key: str) -> list[Any]:
        value: list[Any] = self.get(key, list, [], "a list")
        return value


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a document says, read and checked."""

    tenant: str
    organization: str | None
    version: int
    issuer: str | None
    issued_at: float
    jwks: Mapping[str, Any]
    roles: Mapping[str, Role]
    principals: Mapping[str, Principal]
    revoked_sessions: frozenset[str]


def read_document(document: object) -> Parts:
    """Read a policy document strictly.

    Raises:
        PolicySchemaError: The document is of another schema.
        PolicyError: Something required is missing or anything known has the wrong form; the message says where.
    """
    root = _Entry(document, "The policy")
    schema = root.data.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise PolicySchemaError(f"The policy has schema {schema!r}, this version reads schema {SCHEMA}: upgrade it.")
    roles = {name: _read_role(name, data) for name, data in root.child("roles").data.items()}
    reader = _PrincipalReader(roles)
    sessions = root.child("revoked_sessions")
    for session in sessions.data:
        sessions.number(session, 0)
    return Parts(
        tenant=root.text("tenant"),
        organization=root.optional_text("organization"),
        version=_version(root, "version"),
        issuer=root.optional_text("issuer"),
        issued_at=root.number("issued_at", 0),
        jwks=root.child("jwks").data,
        roles=roles,
        principals={key: reader.read(key, data) for key, data in root.child("principals").data.items()},
        revoked_sessions=frozenset(sessions.data),
    )


def apply_delta(document: Document, delta: Document) -> dict[str, Any]:
    """Apply a delta of the channel to the document that it is based on; neither argument is changed.

    `principals` replaces whole entries, `null` removes one. `revoked_sessions` adds sessions, `null` forgets one.
    `roles`, `jwks`, `issuer` and `issued_at` replace the document's where the delta has them.

    Args:
        document: A policy document.
        delta: `{"base", "version", "principals", "revoked_sessions", …}`.

    Returns:
        The new document, not yet read: `Policy.from_document` checks it.

    Raises:
        PolicyBaseError: The document's version is not the delta's base.
        PolicyError: The delta, or the document's part that it changes, has the wrong form.
    """
    old = _Entry(document, "The policy")
    new = _Entry(delta, "The delta")
    have, base, version = _version(old, "version"), _version(new, "base"), _version(new, "version")
    if have != base:
        raise PolicyBaseError(f"The delta starts at version {base}, but the policy here is version {have}.")
    if version <= base:
        raise PolicyError(f"The delta leads from version {base} to {version}: it must lead forward.")
    result: dict[str, Any] = {**old.data, "version": version}
    for key in ("principals", "revoked_sessions"):
        merged = {**old.child(key).data, **new.child(key).data}
        result[key] = {name: value for name, value in merged.items() if value is not None}
    result.update((key, new.data[key]) for key in ("roles", "jwks", "issuer", "issued_at") if key in new.data)
    return result


def _version(entry: _Entry, key: str) -> int:
    value: int = entry.get(key, int, None, "a whole number")
    return value


def _read_role(name: str, data: object) -> Role:
    entry = _Entry(data, f"Role {name}")
    level = entry.text("level", TENANT)
    if level not in LEVELS or level == ORGANIZATION:
        raise PolicyError(f"{entry.where}: level must be tenant or project, not {level!r}.")
    if name in PREDEFINED_ROLES:
        raise PolicyError(f"{entry.where} has the name of a predefined role.")
    permissions = entry.items("permissions")
    for permission in permissions:
        if not isinstance(permission, str) or not all(permission.partition(":")):
            raise PolicyError(f"{entry.where}: {permission!r} is not a permission of the form type:action.")
    # What this level cannot hold, or this version does not know, grants nothing: a platform that is newer than the
    # engine must still be able to deliver its policy. The platform refuses such roles when they are made.
    held = frozenset(permissions) & frozenset(permissions_of_level(level))
    return Role(
        name, entry.text("label", name), level, entry.optional_text("description") or "", held, predefined=False
    )


class _PrincipalReader:
    """Reads principals; equal grants become one object, since most members hold one of a few."""

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = roles
        self._grants: dict[Grant, Grant] = {}

    def read(self, principal_id: str, data: object) -> Principal:
        entry = _Entry(data, f"Principal {principal_id}")
        kind = entry.text("kind", "user")
        if kind not in PRINCIPAL_KINDS:
            raise PolicyError(f"{entry.where}: kind must be user or service_account, not {kind!r}.")
        username = entry.text("username")
        shares = _read_shares(entry.child("shares"))
        grants = tuple(self._grant(each, entry.where) for each in entry.items("grants"))
        return Principal(
            id=principal_id,
            kind=kind,
            username=username,
            email=entry.optional_text("email"),
            name=entry.optional_text("name") or username,
            superuser=entry.get("superuser", bool, False, "true or false"),
            valid_after=entry.number("valid_after", 0),
            grants=grants,
            shares=shares,
            shared_projects=frozenset(each.container for each in shares if each.container is not None),
            lasting=not grants or bool(shares) or any(each.expires is None for each in grants),
            expires=entry.moment("expires"),
        )

    def _grant(self, data: object, where: str) -> Grant:
        entry = _Entry(data, f"{where}: grant")
        name, project = entry.text("role"), entry.optional_text("project")
        expires = entry.moment("expires")
        if project is not None and not is_uuid(project):
            raise PolicyError(f"{entry.where}: project must be a UUID or null, not {project!r}.")
        level = TENANT if project is None else PROJECT
        role = PREDEFINED_ROLES.get(name) or self._roles.get(name)
        if role is None:
            # A role that only a newer platform knows: membership counts, the unknown rights do not.
            role = Role(name, name, level, "Unknown to this version; grants nothing.", frozenset(), predefined=False)
        if role.level != level:
            place = (
                "a project" if role.level == PROJECT else "no project" if role.level == TENANT else "an organization"
            )
            raise PolicyError(f"{entry.where}: {name} is a role of level {role.level}, it needs {place}.")
        grant = Grant(role, entry.text("via", "direct"), None if project is None else project.lower(), expires)
        return self._grants.setdefault(grant, grant)


def _read_shares(entry: _Entry) -> dict[Resource, frozenset[str]]:
    shares: dict[Resource, frozenset[str]] = {}
    for text in entry.data:
        try:
            resource = parse_resource(text)
        except ResourceError as error:
            raise PolicyError(f"{entry.where}: {error}") from error
        if resource.id is None:
            raise PolicyError(f"{entry.where}: {text!r} names no single resource.")
        actions = entry.items(text)
        if not all(isinstance(each, str) and each for each in actions):
            raise PolicyError(f"{entry.where}: the actions on {text!r} must be texts.")
        if actions:
            # The server's id in front, as of 0.75.1, says nothing that the document's tenant does not say.
            shares[replace(resource, server=None)] = frozenset(actions)
    return shares
