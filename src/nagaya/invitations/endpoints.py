"""HTTP: invitations, for those who invite and for those who are invited."""

import uuid
from typing import Annotated

from fastapi import Query, Request, Response

from nagaya.access.policy import InvitationMaker, InvitationReader, InvitationRemover, reach_organization
from nagaya.errors import Conflict, Forbidden, Gone, NotFound, TooManyRequests, responses
from nagaya.http.lists import Paging, Search
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work, origin_of
from nagaya.identity.policy import CurrentPrincipal, CurrentUser, OptionalPrincipal
from nagaya.identity.service import users
from nagaya.invitations import acceptance, links, repository, service
from nagaya.invitations.acceptance import Joined
from nagaya.invitations.models import Invitation
from nagaya.invitations.reading import read_invitations
from nagaya.invitations.schemas import (
    InvitationAccepted,
    InvitationCreate,
    InvitationCreated,
    InvitationRead,
    InvitingOrganization,
    LinkAcceptance,
    LinkCreate,
    Status,
)

router = Routes(tags=["invitations"], route_class=TransactionRoute)
HOME = "/organizations/{organization}/invitations"
StatusFilter = Annotated[Status | None, Query(description="Only those that stand so; all, if left out.")]


@router.get(HOME, responses=responses(Forbidden))
def list_organization_invitations(
    access: InvitationReader, db: Db, page: Paging, status: StatusFilter = None, q: Search = None
) -> list[InvitationRead]:
    """Lists the invitations to an organization, newest first."""
    now = access.standing.now
    return read_invitations(db, page.fetch(db, repository.listing(access.id, now, status=status, search=q)), now)


@router.post(HOME, status_code=201, responses=responses(Forbidden, Conflict))
def create_invitation(
    access: InvitationMaker, body: InvitationCreate, work: Work, state: State, response: Response
) -> InvitationCreated:
    """Invites a person by a link, which the answer alone holds. Nobody gives more by it than directly."""
    made = service.create(access.place(work), state, body)
    return _created(work, response, state, made)


@router.delete(f"{HOME}/{{invitation_id}}", status_code=204, responses=responses(Forbidden, Conflict))
def delete_invitation(access: InvitationRemover, invitation_id: uuid.UUID, work: Work) -> None:
    """Withdraws an invitation; its link stops working."""
    service.revoke(access.place(work), invitation_id)


@router.post(f"{HOME}/{{invitation_id}}/link", status_code=201, responses=responses(Forbidden, Conflict))
def renew_invitation(
    access: InvitationMaker, invitation_id: uuid.UUID, body: LinkCreate, work: Work, state: State, response: Response
) -> InvitationCreated:
    """Makes a new link of an invitation, expired or not; the old link stops working."""
    made = service.renew(access.place(work), state, invitation_id, body.expires_in_days)
    return _created(work, response, state, made)


@router.get("/invitations")
def list_my_invitations(principal: CurrentUser, db: Db, state: State, page: Paging) -> list[InvitationRead]:
    """Lists the open invitations to the caller's address, newest first."""
    now = state.now()
    return read_invitations(db, page.fetch(db, repository.addressed_to(principal.email or "", now)), now)


@router.post("/invitations/accept", status_code=201, responses=responses(Forbidden, Conflict, Gone, TooManyRequests))
async def accept_invitation_link(
    request: Request, body: LinkAcceptance, state: State, principal: OptionalPrincipal
) -> InvitationAccepted:
    """Accepts the invitation of a link: with the caller's credentials, or else with a new account."""
    new = None
    if body.password is not None:
        new = links.NewAccount(body.username, body.name, body.password)
    if principal is not None and principal.kind != "user":
        raise Forbidden("Only people can accept invitations; the caller is a service account.")
    return _accepted(await links.join(state, origin_of(request), body.token, principal, new))


@router.get("/invitations/{invitation_id}")
def read_invitation(invitation_id: uuid.UUID, principal: CurrentPrincipal, db: Db, state: State) -> InvitationRead:
    """Returns an invitation to the caller, or one to an organization in which the caller may see invitations."""
    now = state.now()
    found = _mine_or_managed(invitation_id, principal, db, state)
    return read_invitations(db, [found], now)[0]


@router.post("/invitations/{invitation_id}", status_code=201, responses=responses(Forbidden, Conflict, Gone))
def accept_invitation(invitation_id: uuid.UUID, principal: CurrentUser, work: Work, state: State) -> InvitationAccepted:
    """Accepts an invitation to the caller's own address; the link is not needed for that."""
    found = repository.find(work.session, invitation_id)
    if found is None or found.email_key != repository.email_key(principal.email or ""):
        raise _unknown(invitation_id)
    return _accepted(acceptance.accept(work, found, users.get(work, principal.id), state.now()))


def _mine_or_managed(invitation_id: uuid.UUID, principal: CurrentPrincipal, db: Db, state: State) -> Invitation:
    found = repository.find(db, invitation_id)
    if found is None:
        raise _unknown(invitation_id)
    if principal.email is not None and found.email_key == repository.email_key(principal.email):
        return found
    try:
        reach_organization(db, principal, str(found.organization_id), state.now()).standing.require("invitation:read")
    except (NotFound, Forbidden) as error:
        raise _unknown(found.id) from error
    return found


def _unknown(invitation_id: uuid.UUID) -> NotFound:
    return NotFound(f"There is no invitation with the id {invitation_id} for you.")


def _created(work: Work, response: Response, state: State, made: tuple[Invitation, str]) -> InvitationCreated:
    invitation, link = made
    response.headers["Cache-Control"] = "no-store"
    work.session.flush()
    shown = read_invitations(work.session, [invitation], state.now())[0]
    return InvitationCreated(**shown.model_dump(), link=link)


def _accepted(joined: Joined) -> InvitationAccepted:
    return InvitationAccepted(
        organization=InvitingOrganization.model_validate(joined.organization),
        user_id=joined.user.id,
        username=joined.user.username,
    )
