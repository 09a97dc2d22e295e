"""On 1,000 random policies, three answers agree: the engine as tenants ask it, HTTP, and a slow, obvious reference.

A policy is what a tenant of its own has in the database: roles at all levels, through teams too, with and without ends,
shares, superusers, people who are deactivated. The reference reads what was drawn, not what the platform compiled from
it, and shares nothing with the engine but the permission sets of the predefined roles, which other tests pin.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from nagaya.access.compiler import compile_policies
from nagaya.access.models import RoleAssignment, Share
from nagaya.identity.models import User
from nagaya.teams.models import Team, TeamMember
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import platform_of
from nagaya_policy import ACTIONS, PREDEFINED_ROLES, RESOURCE_TYPES
from nagaya_tenant.policy_state import PolicyState
from tests import databases
from tests.api.world import Settled

PARTS = 10
POLICIES = 100
"""In each part."""
SEED = 20_261_123
QUESTIONS = 12
PROJECTS = [f"aaaaaaaa-0000-4000-8000-00000000000{n}" for n in (1, 2)]
THINGS = [f"bbbbbbbb-0000-4000-8000-00000000000{n}" for n in (1, 2)]
ORGANIZATION_ROLES = [name for name, role in PREDEFINED_ROLES.items() if role.level == "organization"]
TENANT_ROLES = [name for name, role in PREDEFINED_ROLES.items() if role.level == "tenant"]
PROJECT_ROLES = [name for name, role in PREDEFINED_ROLES.items() if role.level == "project"]
COMMON = ["stack", "pipeline", "project", "tag", "pipeline_run", "secret"]


@dataclass
class Held:
    """A role, as drawn."""

    role: str
    project: str | None = None
    seconds: int | None = None
    """When it ends, in seconds from now; negative: it has ended."""

    @property
    def lasts(self) -> bool:
        return self.seconds is None or self.seconds > 0


@dataclass
class Drawn:
    """What one person, or the team, has in one tenant's policy."""

    tenant: list[Held] = field(default_factory=list)
    shares: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class People:
    """Everybody of the organization: ids by name, organization roles, members of the one team."""

    ids: dict[str, uuid.UUID]
    organization: dict[str, list[Held]]
    team: uuid.UUID
    in_team: set[str]
    superusers: set[str]
    inactive: set[str]


def make_people(settled: Settled, now: dt.datetime) -> People:
    """Eight people: members by every kind of organization role, one without, one superuser, one deactivated."""
    world = settled.world
    roles = {
        "admin": [Held("organization_admin")],
        "viewer": [Held("organization_viewer")],
        "plain": [Held("organization_member")],
        "teamed": [Held("organization_member")],
        "ended": [Held("organization_member", seconds=-60)],
        "ending": [Held("organization_member", seconds=3600)],
        "gone": [Held("organization_admin")],
        "outsider": [],
    }
    ids = {"super": settled.root.id, **{name: world.user(name).id for name in roles}}
    with world.state.database.write() as session:
        for name, held in roles.items():
            for each in held:
                session.add(assignment(settled, ids[name], each, now))
        team = Team(organization_id=uuid.UUID(settled.organization["id"]), name="vision", name_key="vision")
        team.description = ""
        session.add(team)
        session.flush()
        for name in ("teamed", "ended", "outsider"):
            session.add(TeamMember(team_id=team.id, principal_id=ids[name], principal_kind="user"))
        session.get_one(User, ids["gone"]).is_active = False
        session.commit()
        return People(ids, roles, team.id, {"teamed", "ended", "outsider"}, {"super"}, {"gone"})


def assignment(
    settled: Settled,
    principal: uuid.UUID,
    held: Held,
    now: dt.datetime,
    *,
    kind: str = "user",
    level: str = "organization",
    tenant: uuid.UUID | None = None,
) -> RoleAssignment:
    """The row of a role."""
    return RoleAssignment(
        organization_id=uuid.UUID(settled.organization["id"]),
        principal_id=principal,
        principal_kind=kind,
        role=held.role,
        level=level,
        tenant_id=tenant,
        project_id=uuid.UUID(held.project) if held.project else None,
        expires=None if held.seconds is None else now + dt.timedelta(seconds=held.seconds),
    )


def draw_resource(chance: random.Random, *, single: bool | None = None) -> str:
    """A resource as ZenML from 0.80 on writes it, mostly of a few types and ids, so that questions hit grants."""
    kind = chance.choice(COMMON) if chance.random() < 0.7 else chance.choice([*RESOURCE_TYPES, "hologram"])
    known = RESOURCE_TYPES.get(kind)
    scoped = known.project_scoped if known else chance.random() < 0.5
    with_id = chance.random() < 0.6 if single is None else single
    text = f"{kind}/{chance.choice(PROJECTS if kind == 'project' else THINGS)}" if with_id else kind
    return f"{chance.choice(PROJECTS)}:{text}" if scoped else text


def draw_action(chance: random.Random) -> str:
    return chance.choice(["read", "read", "create", "update", "delete", *ACTIONS])


def draw(chance: random.Random, people: People) -> dict[str, Drawn]:
    """A policy: what each person and the team have in the tenant."""
    drawn = {}
    for name in ("plain", "teamed", "ended", "ending", "outsider", "viewer", "team"):
        mine = Drawn()
        for _ in range(chance.choice([0, 0, 1, 1, 2])):
            project = chance.choice([None, *PROJECTS])
            role = chance.choice(TENANT_ROLES if project is None else PROJECT_ROLES)
            held = Held(role, project, chance.choice([None, None, -60, 3600]))
            if (role, project) not in {(each.role, each.project) for each in mine.tenant}:
                mine.tenant.append(held)
        for _ in range(chance.choice([0, 0, 1])):
            mine.shares[draw_resource(chance, single=True)] = {draw_action(chance) for _ in range(2)}
        drawn[name] = mine
    return drawn


def store(settled: Settled, people: People, policies: list[dict[str, Drawn]], now: dt.datetime) -> list[uuid.UUID]:
    """Writes a tenant for each policy, and returns their ids."""
    ids = []
    with settled.world.state.database.write() as session:
        template = session.get_one(Tenant, uuid.UUID(settled.tenant["id"]))
        fields = {each.key: getattr(template, each.key) for each in Tenant.__mapper__.column_attrs}
        for number in range(len(policies)):
            tenant_id = uuid.UUID(int=0xCCCC << 112 | 4 << 76 | 2 << 62 | number)
            session.add(Tenant(**(fields | {"id": tenant_id, "name": f"t{number}"})))
            ids.append(tenant_id)
        session.flush()
        for tenant_id, drawn in zip(ids, policies, strict=True):
            for name, mine in drawn.items():
                principal, kind = (people.team, "team") if name == "team" else (people.ids[name], "user")
                for held in mine.tenant:
                    level = "project" if held.project else "tenant"
                    session.add(assignment(settled, principal, held, now, kind=kind, level=level, tenant=tenant_id))
                for resource, actions in mine.shares.items():
                    share = Share(tenant_id=tenant_id, principal_id=principal, principal_kind=kind, resource=resource)
                    share.actions, share.created_by = sorted(actions), settled.admin.id
                    session.add(share)
        session.commit()
    return ids


class Reference:
    """Decides from what was drawn, one obvious step after the other."""

    def __init__(self, people: People, drawn: dict[str, Drawn]) -> None:
        self.people = people
        self.drawn = drawn

    def roles(self, name: str) -> list[Held]:
        """Roles in the tenant that count now: own ones, those of the team, and what organization roles imply."""
        if name in self.people.superusers:
            return [Held("tenant_admin")]
        found = list(self.drawn[name].tenant) if name in self.drawn else []
        if name in self.people.in_team:
            found += self.drawn["team"].tenant
        for held in self.people.organization.get(name, []):
            if held.role == "organization_admin" and held.lasts:
                found.append(Held("tenant_admin"))
            if held.role == "organization_viewer" and held.lasts:
                found.append(Held("tenant_visitor"))
        return [each for each in found if each.lasts]

    def shares(self, name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for source in [name] + (["team"] if name in self.people.in_team else []):
            for resource, actions in (self.drawn[source].shares if source in self.drawn else {}).items():
                found.setdefault(resource, set()).update(actions)
        return found

    def member(self, name: str) -> bool:
        if name in self.people.superusers:
            return True
        if name not in self.people.ids or name in self.people.inactive:
            return False
        belongs = any(each.lasts for each in self.people.organization.get(name, []))
        return belongs and bool(self.roles(name) or self.shares(name))

    def allowed(self, name: str, action: str, resource: str) -> bool:
        if not self.member(name):
            return False
        project, colon, rest = resource.rpartition(":")
        kind, slash, thing = rest.partition("/")
        if action == "read" and kind in {"flavor", "tag"}:
            return True
        if action in self.shares(name).get(resource, set()):
            return True
        if any(
            self.grants(each, action, project if colon else None, kind, thing if slash else None)
            for each in self.roles(name)
        ):
            return True
        if action == "read" and kind == "project" and slash:
            in_project = any(each.project == thing for each in self.roles(name))
            shared = any(each == resource or each.startswith(f"{thing}:") for each in self.shares(name))
            return in_project or shared
        return False

    @staticmethod
    def grants(held: Held, action: str, project: str | None, kind: str, thing: str | None) -> bool:
        known = kind in RESOURCE_TYPES and action in RESOURCE_TYPES[kind].actions
        inside = held.project is not None and (project == held.project or (kind == "project" and thing == held.project))
        if not known:
            # Only administrators may do what nobody has heard of, each within what they administer.
            return held.role == "tenant_admin" or (held.role == "project_admin" and inside)
        if f"{kind}:{action}" not in PREDEFINED_ROLES[held.role].permissions:
            return False
        return held.project is None or inside or (kind == "tag" and project is None)

    def listed(self, name: str, action: str, kind: str) -> tuple[bool, list[str]]:
        if self.allowed(name, action, kind):
            return True, []
        ids = PROJECTS if kind == "project" else THINGS
        return False, [each for each in ids if self.allowed(name, action, f"{kind}/{each}")]


class Http:
    """Asks the endpoints as a server of each release does: with GET or POST, in the old or the new form."""

    def __init__(self, settled: Settled, tenant_id: uuid.UUID) -> None:
        self.world = settled.world
        self.tenant_id = tenant_id
        token = self.world.state.tokens.issue("server", tenant_id, audience="nagaya-server", seconds=600)
        self.headers = {"Authorization": f"Bearer {token}"}

    def check(self, who: uuid.UUID | str, action: str, resources: list[str], *, old: bool) -> dict[str, bool]:
        query: dict[str, Any] = {"user_id": str(who), "action": action}
        path = "/rbac/check_permissions"
        if old:
            answer = self.world.call("GET", path, params=query | {"resources": resources}, headers=self.headers)
        else:
            answer = self.world.call("POST", path, params=query, json=resources, headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, bool] = answer.json()
        assert set(found) == set(resources)
        return found

    def listed(self, who: uuid.UUID | str, action: str, kind: str) -> tuple[bool, list[str]]:
        query = {"user_id": str(who), "action": action, "resource": kind}
        answer = self.world.made("GET", "/rbac/allowed_resource_ids", params=query, headers=self.headers)
        assert set(answer) == {"full_access", "ids"}
        return answer["full_access"], sorted(answer["ids"])


@pytest.mark.parametrize("part", range(PARTS))
def test_engine_endpoints_and_reference_agree(settled: Settled, part: int) -> None:
    if part and databases.CHOSEN != "sqlite":
        pytest.skip("the database only holds what was drawn; the first part shows that it holds it alike")
    chance = random.Random(SEED + part)
    now = settled.world.clock()
    people = make_people(settled, now)
    policies = [draw(chance, people) for _ in range(POLICIES)]
    ids = store(settled, people, policies, now)
    issuer = platform_of(settled.world.state).issuer
    with settled.world.state.database.read() as session:
        documents = compile_policies(session, ids, issuer, now)
    names = [*people.ids, "nobody"]
    seen = {True: 0, False: 0}
    for number, (tenant_id, drawn) in enumerate(zip(ids, policies, strict=True)):
        engine = PolicyState(str(tenant_id), 86_400, now.timestamp)
        engine.apply_snapshot(documents[tenant_id])
        engine.alive()
        reference, http = Reference(people, drawn), Http(settled, tenant_id)
        name, action = chance.choice(names), draw_action(chance)
        who = str(people.ids.get(name, uuid.UUID(int=7)))
        resources = list(dict.fromkeys(draw_resource(chance) for _ in range(QUESTIONS)))
        expected = {each: reference.allowed(name, action, each) for each in resources}
        assert {each: engine.check(who, action, each).allowed for each in resources} == expected, (number, name, action)
        assert http.check(who, action, resources, old=number % 2 == 0) == expected, (number, name, action)
        for allowed in expected.values():
            seen[allowed] += 1
        kind = draw_resource(chance, single=False)
        listed = reference.listed(name, action, kind)
        found = engine.allowed_ids(who, action, kind, ())
        assert (found.full_access, sorted(found.ids)) == listed, (number, name, action, kind)
        assert http.listed(who, action, kind) == listed, (number, name, action, kind)
    # A test in which nearly everything is denied, or allowed, would show nothing.
    assert min(seen.values()) > POLICIES
