"""The compiled policy of organizations with teams equals that of a slow, obvious reference, for random ones."""

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from nagaya.access import repository
from nagaya.access.compiler import Issuer, compile_policies
from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import AccessibleOrganizationId, AccessibleTenantId, tenants_of
from nagaya.access.standing import standing_of
from nagaya.identity.principal import Principal
from nagaya.teams.models import Team, TeamMember
from nagaya.tenants.repository import Filters, listing
from nagaya_policy import PREDEFINED_ROLES, Policy, implied_tenant_role
from tests.api.world import Settled, World

PEOPLE, TEAMS, RESOURCES = 3, 2, 2
ROLES = {level: sorted(name for name, each in PREDEFINED_ROLES.items() if each.level == level) for level in
         ("organization", "tenant")}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Who is in which team, and who holds and was given what; numbers below PEOPLE are people, the others teams."""

    seats: set[tuple[int, int]]
    roles: list[tuple[int, str, str, int | None]]
    """Holder, level, role, hours until it ends (negative: it has ended)."""
    shares: dict[tuple[int, int], list[str]] = field(default_factory=dict)


HOLDERS = st.integers(0, PEOPLE + TEAMS - 1)
HOURS = st.sampled_from([None, None, -1, 1, 2])
SCENES = st.builds(
    Scene,
    seats=st.sets(st.tuples(st.integers(0, PEOPLE - 1), st.integers(PEOPLE, PEOPLE + TEAMS - 1))),
    roles=st.lists(
        st.one_of(
            *(st.tuples(HOLDERS, st.just(level), st.sampled_from(names), HOURS) for level, names in ROLES.items())
        ),
        max_size=10,
        unique_by=lambda each: each[:3],
    ),
    shares=st.dictionaries(
        st.tuples(HOLDERS, st.integers(0, RESOURCES - 1)),
        st.lists(st.sampled_from(["delete", "read", "update"]), min_size=1, unique=True).map(sorted),
        max_size=4,
    ),
)


@dataclass(frozen=True)
class Stage:
    """An organization with a tenant, people and teams, whose roles a test fills in."""

    world: World
    organization: uuid.UUID
    tenant: uuid.UUID
    ids: list[uuid.UUID]

    def play(self, scene: Scene) -> None:
        now = self.world.clock()
        kinds = ["user"] * PEOPLE + ["team"] * TEAMS
        with self.world.state.database.write() as db:
            for table in (RoleAssignment, Share, TeamMember):
                db.execute(delete(table))
            for person, where in scene.seats:
                db.add(TeamMember(team_id=self.ids[where], principal_id=self.ids[person], principal_kind="user"))
            for holder, level, role, hours in scene.roles:
                db.add(
                    RoleAssignment(
                        organization_id=self.organization,
                        principal_id=self.ids[holder],
                        principal_kind=kinds[holder],
                        role=role,
                        level=level,
                        tenant_id=self.tenant if level == "tenant" else None,
                        expires=None if hours is None else now + dt.timedelta(hours=hours),
                    )
                )
            for (holder, number), actions in scene.shares.items():
                db.add(
                    Share(
                        tenant_id=self.tenant,
                        principal_id=self.ids[holder],
                        principal_kind=kinds[holder],
                        resource=RESOURCE_NAMES[number],
                        actions=actions,
                        created_by=self.ids[0],
                    )
                )
            db.commit()


RESOURCE_NAMES = [f"stack/{uuid.UUID(int=number)}" for number in range(RESOURCES)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, settled_template: tuple[Path, Settled]) -> Iterator[Stage]:
    directory, settled = settled_template
    world = World(tmp_path_factory.mktemp("stage"), directory)
    people = [world.user(f"person{number}").id for number in range(PEOPLE)]
    organization = uuid.UUID(settled.organization["id"])
    teams = [Team(organization_id=organization, name=name, name_key=name) for name in ("t0", "t1")]
    with world.state.database.write() as db:
        db.add_all(teams)
        db.commit()
    yield Stage(world, organization, uuid.UUID(settled.tenant["id"]), people + [each.id for each in teams])
    world.close()


def lasting(hours: int | None) -> bool:
    return hours is None or hours > 0


def expected(scene: Scene, person: int, names: list[str]) -> dict[str, Any] | None:
    """What the document says about a person, thought out one by one; None for a stranger."""
    own = [each for each in scene.roles if each[0] == person and each[1] == "organization" and lasting(each[3])]
    if not own:
        return None
    ends = None if any(each[3] is None for each in own) else max(each[3] or 0 for each in own)
    holders = [person] + [where for someone, where in scene.seats if someone == person]
    grants = set()
    for holder, level, role, hours in scene.roles:
        if holder not in holders or not lasting(hours):
            continue
        via = "direct" if holder == person else f"team {names[holder]}"
        name: str | None = role
        if level == "organization":
            name = implied_tenant_role(role)
            via = f"organization role {role}" if holder == person else via
        if name is not None:
            grants.add((name, via, hours))
    shares: dict[str, list[str]] = {}
    for (holder, number), actions in scene.shares.items():
        if holder in holders:
            shares[RESOURCE_NAMES[number]] = sorted({*shares.get(RESOURCE_NAMES[number], []), *actions})
    return {"grants": grants, "shares": shares, "ends": ends} if grants or shares else None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scene=SCENES)
def test_everybody_has_what_they_and_their_teams_hold(stage: Stage, scene: Scene) -> None:
    stage.play(scene)
    now, names = stage.world.clock(), [""] * PEOPLE + ["t0", "t1"]

    def hours(seconds: int | None) -> int | None:
        return None if seconds is None else round((seconds - now.timestamp()) / 3600)

    with stage.world.state.database.read() as session:
        issuer = Issuer("http://nagaya.test", lambda: {"keys": []})
        document = compile_policies(session, [stage.tenant], issuer, now)[stage.tenant]
        policy = Policy.from_document(document)
        page = repository.tenant_members(
            AccessibleOrganizationId(stage.organization), AccessibleTenantId(stage.tenant), now
        )
        listed = {each.id for each in repository.account_page(session, page, 0, 100)[1]}
        for person, key in enumerate(stage.ids[:PEOPLE]):
            wanted = expected(scene, person, names)
            found = document["principals"].get(str(key))
            assert (found is None) == (wanted is None)
            principal = Principal(key, "user", "", None, "", superuser=False, session_id=None)
            reach = tenants_of(principal, now, member_only=True)
            enters = session.scalars(listing(reach, Filters(), "http://nagaya.test").with_only_columns(1)).all()
            assert bool(enters) == (wanted is not None)
            standing = standing_of(session, principal, stage.organization, stage.tenant, now)
            if wanted is None or found is None:
                assert standing.tenant_grants == ()
                assert key not in listed
                continue
            held = {(each["role"], each["via"], hours(each["expires"])) for each in found["grants"]}
            assert (held, found["shares"], hours(found.get("expires"))) == (
                wanted["grants"],
                wanted["shares"],
                wanted["ends"],
            )
            assert (key in listed) == bool(wanted["grants"])
            assert {(each.role.name, each.via) for each in standing.tenant_grants} == {
                each[:2] for each in wanted["grants"]
            }
            assert standing.shared == bool(wanted["shares"])
            assert policy.administers(str(key), now.timestamp()).allowed == any(
                each[0] == "tenant_admin" for each in wanted["grants"]
            )
