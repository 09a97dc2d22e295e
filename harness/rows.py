"""Fills a control database with the rows of a large installation: a few big organizations and many small ones."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session as DbSession

from nagaya.access.models import RoleAssignment, Share
from nagaya.audit.models import AuditEvent
from nagaya.db.base import Base, utc_now
from nagaya.db.engine import Database
from nagaya.identity.models import Session, User
from nagaya.operations.models import Operation
from nagaya.organizations.models import Organization
from nagaya.teams.models import Team, TeamMember
from nagaya.tenants.models import Tenant

BATCH = 2000
SKEW = 0.7
"""Of the n-th largest organization: its share of everything is proportional to n to the power of minus this."""
TENANT_ROLES = ("tenant_admin", "tenant_developer", "tenant_contributor", "tenant_viewer")
STAGES = ("production", "staging", "development", None)
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    organizations: int = 200
    users: int = 5_000
    tenants: int = 10_000
    memberships: int = 100_000
    """Roles of users and teams, and places in teams."""
    audit_events: int = 100_000


@dataclass(frozen=True)
class Home:
    """One organization with the ids of what belongs to it."""

    id: uuid.UUID
    name: str
    members: list[uuid.UUID]
    tenants: list[uuid.UUID]


@dataclass(frozen=True)
class Filled:
    """What was made, as far as a measurement needs it; organizations by size, the largest first."""

    homes: list[Home]
    superuser: uuid.UUID
    administrator: uuid.UUID
    """Administers the largest organization."""
    member: uuid.UUID
    """An ordinary member of the largest organization, with roles in some of its tenants."""
    sessions: dict[uuid.UUID, uuid.UUID]


def shares_of(total: int, places: int, least: int = 1) -> list[int]:
    """Divides `total` over places, skewed, with at least `least` in each; the sum is exact."""
    weights = [(place + 1) ** -SKEW for place in range(places)]
    rest = total - least * places
    parts = [least + int(rest * weight / sum(weights)) for weight in weights]
    parts[0] += total - sum(parts)
    return parts


def fill(database: Database, size: Size, seed: int) -> Filled:
    """Writes the rows and returns what a measurement needs to know of them.

    Args:
        database: A migrated, empty database.
        size: How much.
        seed: Of everything that is random.
    """
    dice = random.Random(seed)
    now = utc_now()
    users = [_id(dice) for _ in range(size.users)]
    homes = _homes(dice, size, users)
    root = users[-1]
    chosen = (root, homes[0].members[0], homes[0].members[1])
    sessions = {each: _id(dice) for each in chosen}
    with database.write() as session:
        _put(session, User, (_user(key, number, key == root) for number, key in enumerate(users)))
        _put(session, Organization, ({"id": home.id, "name": home.name, "display_name": home.name} for home in homes))
        _put(session, Tenant, _tenants(dice, homes))
        _put(session, Operation, _operations(dice, homes, now))
        _memberships(session, dice, size, homes, chosen)
        _put(session, Share, _shares(dice, homes))
        old = ({"id": _id(dice), "principal_id": each, "revoked": now} for each in users[: size.users // 10])
        mine = ({"id": key, "principal_id": principal, "last_seen": now} for principal, key in sessions.items())
        common = {"principal_kind": "user", "kind": "password", "expires": now + dt.timedelta(days=1)}
        common |= {"revoked": None, "last_seen": None}
        _put(session, Session, (common | each for each in (*old, *mine)))
        _put(session, AuditEvent, _events(dice, size.audit_events, homes, now))
        session.commit()
    _analyze(database)
    return Filled(homes, *chosen, sessions)


def _analyze(database: Database) -> None:
    """Gives the planner the figures that a running server collects by itself."""
    with database.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ANALYZE")


def _homes(dice: random.Random, size: Size, users: Sequence[uuid.UUID]) -> list[Home]:
    tenants = shares_of(size.tenants, size.organizations)
    members = shares_of(size.users, size.organizations, least=4)
    homes, used = [], 0
    for number, (many, people) in enumerate(zip(tenants, members, strict=True)):
        own = list(users[used : used + people])
        used += people
        # Some people work in more than one organization.
        guests = [each for each in dice.sample(users, max(1, people // 5)) if each not in set(own)]
        homes.append(Home(_id(dice), f"organization-{number}", own + guests, [_id(dice) for _ in range(many)]))
    return homes


def _user(key: uuid.UUID, number: int, superuser: bool) -> Row:
    name = f"user-{number:05}"
    return {
        "id": key,
        "username": name,
        "email": f"{name}@example.com",
        "name": f"Person {number}",
        "is_superuser": superuser,
    }


def _tenants(dice: random.Random, homes: Iterable[Home]) -> Iterator[Row]:
    for home in homes:
        for number, key in enumerate(home.tenants):
            yield {
                "id": key,
                "organization_id": home.id,
                "name": f"tenant-{number}",
                "display_name": f"Tenant {number} of {home.name}",
                "description": f"Trains models of kind {dice.randrange(1000)} for {home.name}.",
                "stage": dice.choice(STAGES),
                "labels": {"team": f"team-{dice.randrange(20)}"},
                "version": dice.choice(("0.94.6", "0.98.0")),
                "desired_state": "available",
                "status": "available",
                "applied_generation": 1,
                "jwt_secret": "",
                "secrets_store_key": "",
                "channel_token": "",
                "client_secret": "",
            }


def _operations(dice: random.Random, homes: Iterable[Home], now: dt.datetime) -> Iterator[Row]:
    for home in homes:
        for tenant in home.tenants:
            for number in range(dice.randint(1, 3)):
                yield {
                    "id": _id(dice),
                    "organization_id": home.id,
                    "tenant_id": tenant,
                    "kind": "deploy" if number else "create",
                    "status": "succeeded",
                    "phases": [],
                    "created": now - dt.timedelta(days=30 - number),
                }


def _memberships(
    session: DbSession, dice: random.Random, size: Size, homes: list[Home], chosen: tuple[uuid.UUID, ...]
) -> None:
    administrators = {home.members[0] for home in homes}
    whole = [
        _role(dice, home, each, "organization_admin" if each in administrators else "organization_member")
        for home in homes
        for each in home.members
    ]
    left = size.memberships - len(whole)
    teams: list[Row] = []
    places: list[Row] = []
    single: list[Row] = []
    for home, budget in zip(homes, shares_of(left, len(homes), least=left // len(homes) // 3), strict=True):
        holders = [(each, "user") for each in home.members if each not in chosen[:2]]
        for number in range(max(1, len(home.members) // 25)):
            team = _id(dice)
            teams.append(
                {"id": team, "organization_id": home.id, "name": f"team-{number}", "name_key": f"team-{number}"}
            )
            inside = dice.sample(home.members, min(10, len(home.members)))
            places += [
                {"id": _id(dice), "team_id": team, "principal_id": each, "principal_kind": "user"} for each in inside
            ]
            holders.append((team, "team"))
        pairs = _pairs(dice, len(holders), len(home.tenants), budget)
        single += [
            _role(dice, home, holders[who][0], dice.choice(TENANT_ROLES), home.tenants[where], kind=holders[who][1])
            for who, where in pairs
        ]
    single = single[: left - len(places)] if len(single) + len(places) > left else single
    _put(session, Team, teams)
    _put(session, TeamMember, places)
    _put(session, RoleAssignment, whole + single + _fillers(dice, homes, left - len(single) - len(places), single))


def _fillers(dice: random.Random, homes: list[Home], missing: int, taken: list[Row]) -> list[Row]:
    """Small organizations cannot hold their part: the largest one takes the rest."""
    home = homes[0]
    known = {(row["principal_id"], row["tenant_id"]) for row in taken}
    free = ((who, where) for where in home.tenants for who in home.members[2:] if (who, where) not in known)
    return [
        _role(dice, home, who, "tenant_viewer", where) for (who, where), _ in zip(free, range(missing), strict=False)
    ]


def _pairs(dice: random.Random, holders: int, tenants: int, wanted: int) -> list[tuple[int, int]]:
    every = holders * tenants
    return [divmod(each, tenants) for each in dice.sample(range(every), min(wanted, every * 2 // 3))]


def _role(
    dice: random.Random, home: Home, who: uuid.UUID, role: str, tenant: uuid.UUID | None = None, *, kind: str = "user"
) -> Row:
    return {
        "id": _id(dice),
        "organization_id": home.id,
        "principal_id": who,
        "principal_kind": kind,
        "role": role,
        "level": "organization" if tenant is None else "tenant",
        "tenant_id": tenant,
    }


def _shares(dice: random.Random, homes: Iterable[Home]) -> Iterator[Row]:
    for home in homes:
        for tenant in home.tenants[::5]:
            who = dice.choice(home.members)
            resource = f"stack/{_id(dice)}"
            row = {"id": _id(dice), "tenant_id": tenant, "principal_id": who, "principal_kind": "user"}
            yield row | {"resource": resource, "actions": ["read"], "created_by": home.members[0]}


def _events(dice: random.Random, count: int, homes: list[Home], now: dt.datetime) -> Iterator[Row]:
    for number in range(count):
        home = dice.choice(homes)
        yield {
            "time": now - dt.timedelta(seconds=count - number),
            "organization_id": home.id,
            "tenant_id": dice.choice(home.tenants),
            "actor_id": dice.choice(home.members),
            "actor_kind": "user",
            "actor_name": "somebody",
            "action": dice.choice(("stack.update", "pipeline.create", "session.create")),
            "target_kind": "stack",
            "target_id": str(number),
            "target_name": "",
            "outcome": "success",
            "reason": "",
            "details": {},
        }


def _id(dice: random.Random) -> uuid.UUID:
    return uuid.UUID(int=dice.getrandbits(128), version=4)


def _put(session: DbSession, model: type[Base], rows: Iterable[Row]) -> None:
    for batch in _batches(rows):
        session.execute(insert(model), batch)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
