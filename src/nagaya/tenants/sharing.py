"""Sharing of single resources of a tenant: who may give which actions to whom.

The rules are ZenML's (`zenml.zen_server.rbac.endpoint_utils` and its documentation): whoever shares needs `share` and
every action that is given; nobody shares with oneself; the list replaces what was shared before, an empty list takes
everything back. Somebody who is not a member of the tenant becomes one implicitly, who sees only what was shared, but
has to belong to the organization: an organization decides who its people are.
"""

import datetime as dt
import uuid

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya import audit
from nagaya.access import changes, repository
from nagaya.access.compiler import Issuer, compile_policies
from nagaya.access.models import Share
from nagaya.access.repository import Account
from nagaya.db.engine import Database
from nagaya.errors import Forbidden, InvalidInput, NotFound
from nagaya.http.schemas import Input
from nagaya.http.transactions import Origin, UnitOfWork
from nagaya.tenants.models import Tenant
from nagaya_policy import ACTIONS, RESOURCE_TYPES, Policy, Resource, ResourceError, parse_resource


class ShareRequest(Input):
    """Body of `POST /channel/v1/shares`."""

    sharing_user_id: uuid.UUID = Field(description="Who shares, as the platform knows the account.")
    user_id: uuid.UUID | None = Field(default=None, description="With whom: a user or a service account.")
    team_id: uuid.UUID | None = Field(default=None, description="With which team, instead of `user_id`.")
    resource: str = Field(max_length=200, description="`[<project id>:]<type>/<id>`.")
    actions: list[str] = Field(max_length=len(ACTIONS), description="All actions afterwards; empty to end sharing.")
    owned: bool = Field(
        default=False,
        description="Whether the tenant found that the sharer made the resource; only its own database knows.",
    )


def share(database: Database, issuer: Issuer, tenant_id: uuid.UUID, body: ShareRequest, now: dt.datetime) -> list[str]:
    """Stores or removes a share.

    Args:
        database: The control database.
        issuer: Who signs tokens; part of the policy that decides.
        tenant_id: The tenant.
        body: What is wanted.
        now: Current time.

    Returns:
        The actions that are shared now.

    Raises:
        InvalidInput: The resource or an action is not one, or one would share with oneself.
        NotFound: The account does not exist in the organization.
        Forbidden: The sharer lacks a permission.
    """
    resource = _resource(body)
    actions = sorted(set(body.actions))
    with UnitOfWork(database, origin=_origin(database, body.sharing_user_id)) as work:
        tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
        if tenant is None:
            raise NotFound("This tenant does not exist any more.")
        document = compile_policies(work.session, [tenant_id], issuer, now)[tenant_id]
        _require(Policy.from_document(document), body, resource, actions, now)
        receiver = _receiver(work.session, tenant, body, now)
        _store(
            work.session,
            Share(
                tenant_id=tenant.id,
                principal_id=receiver.id,
                principal_kind=receiver.kind,
                resource=str(resource),
                actions=actions,
                created_by=body.sharing_user_id,
            ),
        )
        audit.record(
            work,
            "resource.share" if actions else "resource.unshare",
            audit.Target(resource.type, resource.id or "", str(resource)),
            organization_id=tenant.organization_id,
            tenant_id=tenant.id,
            details={"with": str(receiver.id), "kind": receiver.kind, "actions": actions},
        )
        changes.tenant_changed(work, tenant.id)
    return actions


def _resource(body: ShareRequest) -> Resource:
    try:
        resource = parse_resource(body.resource)
    except ResourceError as error:
        raise InvalidInput(str(error), fields={"resource": str(error)}) from error
    if resource.id is None:
        raise InvalidInput(f"{body.resource!r} is a kind of resource: share a single one, {body.resource}/<id>.")
    known = RESOURCE_TYPES.get(resource.type)
    possible = ACTIONS if known is None else known.actions
    if foreign := sorted(set(body.actions) - set(possible)):
        raise InvalidInput(f"{resource.type} has no action {', '.join(foreign)}: use {', '.join(possible)}.")
    return resource


def _require(policy: Policy, body: ShareRequest, resource: Resource, actions: list[str], now: dt.datetime) -> None:
    sharer = str(body.sharing_user_id)
    owner = sharer if body.owned else None
    for action in ("share", *actions):
        decision = policy.check(sharer, action, resource, owner=owner, now=now.timestamp())
        if not decision.allowed:
            raise Forbidden(f"You may not share this: {action} is {decision.reason}.")


def _receiver(session: Session, tenant: Tenant, body: ShareRequest, now: dt.datetime) -> Account:
    if body.team_id is not None and body.user_id is not None:
        raise InvalidInput("Share with a user or with a team: give user_id or team_id, not both.")
    if body.team_id is not None:
        team = repository.team_account(session, tenant.organization_id, body.team_id)
        if team is None:
            raise NotFound("There is no team of this id in the organization.")
        return team
    if body.user_id is None:
        raise InvalidInput("Say with whom to share: user_id is missing.", fields={"user_id": "is missing"})
    if body.user_id == body.sharing_user_id:
        raise InvalidInput("You cannot share something with yourself.")
    who = repository.account(session, body.user_id)
    member = repository.assignments(session, tenant.organization_id, [body.user_id], now)
    if who is None or (not member and body.actions):
        raise NotFound("There is no user or service account of this id in the organization.")
    return who


def _store(session: Session, wanted: Share) -> None:
    """Replaces what was shared of the resource with the same account or team; no actions end it."""
    row = session.scalar(
        select(Share).where(
            Share.tenant_id == wanted.tenant_id,
            Share.principal_id == wanted.principal_id,
            Share.resource == wanted.resource,
        )
    )
    if row is None and wanted.actions:
        session.add(wanted)
    elif row is not None and wanted.actions:
        row.actions = wanted.actions
    elif row is not None:
        session.delete(row)


def _origin(database: Database, principal_id: uuid.UUID) -> Origin:
    with database.read() as session:
        who = repository.account(session, principal_id)
    if who is None:
        return Origin(actor_kind="anonymous", actor_id=principal_id, actor_name="")
    return Origin(actor_kind=who.kind, actor_id=who.id, actor_name=who.username)
