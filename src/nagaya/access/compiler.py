"""Compiles the policy document of tenants from the control database (docs/reference/internals.md, "Policy document").

All documents of a change are compiled together: what an organization's roles give is worked out once per organization,
not once per tenant.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select, true
from sqlalchemy.orm import Session as DbSession

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import held_by, in_force, shared_with, teams_of
from nagaya.access.roles import TENANT_ADMIN
from nagaya.identity.models import ServiceAccount, Session, User
from nagaya.teams.models import Team, TeamMember
from nagaya.tenants.models import Tenant
from nagaya.usage.limits import exhausted
from nagaya_policy import SCHEMA, implied_tenant_role

Document = dict[str, Any]
Grants = dict[uuid.UUID, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs the tokens that tenants accept.

    Args:
        url: The platform's public URL.
        jwks: Returns the public keys as a JSON Web Key Set (RFC 7517).
    """

    url: str
    jwks: Callable[[], dict[str, Any]]


def compile_policies(
    session: DbSession,
    tenant_ids: Collection[uuid.UUID],
    issuer: Issuer,
    now: dt.datetime,
    *,
    principal_id: uuid.UUID | None = None,
) -> dict[uuid.UUID, Document]:
    """Returns the policy documents of tenants; ids of purged or unknown tenants are left out.

    Deactivated and deleted principals are not in a document, which makes them strangers there.

    Args:
        session: Database session; all documents are of the state that it sees.
        tenant_ids: Which tenants.
        issuer: Who signs tokens.
        now: Current time: roles that have expired and revoked sessions that have ended are left out.
        principal_id: Put only this principal into the documents, for questions about one among thousands.
    """
    tenants = session.execute(
        select(Tenant.id, Tenant.organization_id, Tenant.policy_version).where(
            Tenant.id.in_(tenant_ids), Tenant.purged.is_(None)
        )
    ).all()
    facts = _Facts(
        session, {row.organization_id for row in tenants}, [row.id for row in tenants], now, only=principal_id
    )
    limits = exhausted(session, {row.id: row.organization_id for row in tenants})
    keys = issuer.jwks()
    documents: dict[uuid.UUID, Document] = {}
    for tenant_id, organization_id, version in tenants:
        principals = facts.principals(organization_id, tenant_id)
        documents[tenant_id] = {
            "schema": SCHEMA,
            "tenant": str(tenant_id),
            "organization": str(organization_id),
            "version": version,
            "issuer": issuer.url,
            "issued_at": int(now.timestamp()),
            "jwks": keys,
            "principals": {str(key): value for key, value in principals.items()},
            "roles": {},
            "limits": limits.get(tenant_id, {}),
            "revoked_sessions": facts.revoked(principals),
        }
    return documents


class _Facts:
    """What the database says about the organizations concerned, read with one query per table.

    Roles and shares of a team are written to each of its members, so that tenants need not know of teams.
    """

    def __init__(
        self,
        session: DbSession,
        organizations: set[uuid.UUID],
        tenants: list[uuid.UUID],
        now: dt.datetime,
        *,
        only: uuid.UUID | None,
    ) -> None:
        self._accounts = _read_accounts(session, organizations, only)
        self._superusers = [key for key, value in self._accounts.items() if value["superuser"]]
        self._teams = _read_teams(session, organizations, only)
        self._organization: dict[uuid.UUID, Grants] = defaultdict(lambda: defaultdict(list))
        self._tenant: dict[uuid.UUID, Grants] = defaultdict(lambda: defaultdict(list))
        self._ends: dict[uuid.UUID, dict[uuid.UUID, int | None]] = defaultdict(dict)
        self._shares: dict[uuid.UUID, dict[uuid.UUID, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(dict))
        self._sessions: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
        assignments = session.scalars(
            select(RoleAssignment)
            .where(
                RoleAssignment.organization_id.in_(organizations),
                or_(RoleAssignment.tenant_id.is_(None), RoleAssignment.tenant_id.in_(tenants)),
                in_force(now),
                true() if only is None else held_by(only),
            )
            .order_by(RoleAssignment.created, RoleAssignment.id)
        ).all()
        # Own roles before those of teams: the first that permits something is what a decision gives as the reason.
        for row in sorted(assignments, key=lambda each: each.principal_id in self._teams):
            self._add(row)
        shared = and_(Share.tenant_id.in_(tenants), true() if only is None else shared_with(only))
        for share in session.scalars(select(Share).where(shared).order_by(Share.resource)):
            for principal_id in self._behind(share.principal_id):
                resources = self._shares[share.tenant_id][principal_id]
                resources.setdefault(share.resource, set()).update(share.actions)
        revoked = session.execute(
            select(Session.id, Session.principal_id, Session.expires).where(
                Session.revoked.is_not(None),
                Session.expires > now,
                true() if only is None else Session.principal_id == only,
            )
        )
        for session_id, principal_id, expires in revoked:
            self._sessions[principal_id][str(session_id)] = int(expires.timestamp())

    def _behind(self, principal_id: uuid.UUID) -> list[uuid.UUID]:
        """Returns the members of a team; of anything else itself."""
        team = self._teams.get(principal_id)
        return [principal_id] if team is None else team.members

    def _add(self, row: RoleAssignment) -> None:
        expires = None if row.expires is None else int(row.expires.timestamp())
        team = self._teams.get(row.principal_id)
        if row.tenant_id is not None:
            project = None if row.project_id is None else str(row.project_id)
            grant = {"role": row.role, "via": "direct", "project": project, "expires": expires}
            grants = self._tenant[row.tenant_id]
        else:
            if team is None:
                self._belongs(row, expires)
            implied = implied_tenant_role(row.role)
            if implied is None:
                return
            grant = {"role": implied, "via": f"organization role {row.role}", "project": None, "expires": expires}
            grants = self._organization[row.organization_id]
        if team is not None:
            grant["via"] = f"team {team.name}"
        for principal_id in self._behind(row.principal_id):
            grants[principal_id].append(grant)

    def _belongs(self, row: RoleAssignment, expires: int | None) -> None:
        """Notes until when somebody is a member of the organization: as long as the last own role in it lasts."""
        ends = self._ends[row.organization_id]
        known = ends.get(row.principal_id, expires)
        ends[row.principal_id] = None if known is None or expires is None else max(known, expires)

    def principals(self, organization_id: uuid.UUID, tenant_id: uuid.UUID) -> dict[uuid.UUID, dict[str, Any]]:
        """Returns the principals of a tenant's document: whoever holds a role or a share there, and superusers.

        Nobody is in it without a role in the organization, and nobody stays for longer than that lasts.
        """
        whole, single = self._organization[organization_id], self._tenant[tenant_id]
        shares, ends = self._shares[tenant_id], self._ends[organization_id]
        found: dict[uuid.UUID, dict[str, Any]] = {}
        for key in dict.fromkeys((*self._superusers, *whole, *single, *shares)):
            account = self._accounts.get(key)
            if account is None or not (account["superuser"] or key in ends):
                continue
            grants = [*whole.get(key, ()), *single.get(key, ())]
            if account["superuser"]:
                grants.insert(0, {"role": TENANT_ADMIN, "via": "superuser", "project": None, "expires": None})
            shared = {resource: sorted(actions) for resource, actions in shares.get(key, {}).items()}
            found[key] = {**account, "grants": grants, "shares": shared}
            if not account["superuser"] and (end := ends[key]) is not None:
                found[key]["expires"] = end
        return found

    def revoked(self, principals: Iterable[uuid.UUID]) -> dict[str, int]:
        """Returns the revoked sessions of principals that could still be presented."""
        found: dict[str, int] = {}
        for key in principals:
            found.update(self._sessions.get(key, {}))
        return found


@dataclass(frozen=True, slots=True)
class _Team:
    """The name of a team and the ids of its members."""

    name: str
    members: list[uuid.UUID]


def _read_teams(session: DbSession, organizations: set[uuid.UUID], only: uuid.UUID | None) -> dict[uuid.UUID, _Team]:
    here = and_(Team.organization_id.in_(organizations), true() if only is None else Team.id.in_(teams_of(only)))
    found = {row.id: _Team(row.name, []) for row in session.execute(select(Team.id, Team.name).where(here))}
    members = select(TeamMember.team_id, TeamMember.principal_id).join(Team, Team.id == TeamMember.team_id)
    for team_id, principal_id in session.execute(members.where(here).order_by(TeamMember.created, TeamMember.id)):
        found[team_id].members.append(principal_id)
    return found


def _read_accounts(
    session: DbSession, organizations: set[uuid.UUID], only: uuid.UUID | None
) -> dict[uuid.UUID, dict[str, Any]]:
    members = select(RoleAssignment.principal_id).where(RoleAssignment.organization_id.in_(organizations))
    users = session.scalars(
        select(User).where(
            User.is_active.is_(True),
            User.deleted.is_(None),
            or_(User.is_superuser.is_(True), User.id.in_(members)),
            true() if only is None else User.id == only,
        )
    )
    accounts: dict[uuid.UUID, dict[str, Any]] = {
        user.id: {
            "kind": "user",
            "username": user.username,
            "email": user.email,
            "name": user.name or user.username,
            "superuser": user.is_superuser,
            "valid_after": user.valid_after,
        }
        for user in users
    }
    machines = session.scalars(
        select(ServiceAccount).where(
            ServiceAccount.organization_id.in_(organizations),
            ServiceAccount.is_active.is_(True),
            ServiceAccount.deleted.is_(None),
            true() if only is None else ServiceAccount.id == only,
        )
    )
    for machine in machines:
        accounts[machine.id] = {
            "kind": "service_account",
            "username": machine.username,
            "email": None,
            "name": machine.username,
            "superuser": False,
            "valid_after": machine.valid_after,
        }
    return accounts
