"""HTTP: members of an organization."""

import uuid

from nagaya.access import repository
from nagaya.access.members import read_members
from nagaya.access.places import wanted_roles
from nagaya.access.policy import MemberAdder, MemberEditor, MemberLeaver, MemberReader, MemberRemover
from nagaya.access.service import add, change, find_account, member, remove
from nagaya.errors import Conflict, Forbidden, responses
from nagaya.http.lists import Paging, Search
from nagaya.http.routing import Routes
from nagaya.http.transactions import Db, Work
from nagaya.organizations.schemas import MemberRead, OrganizationMemberCreate, OrganizationMemberUpdate


def list_organization_members(access: MemberReader, db: Db, page: Paging, q: Search = None) -> list[MemberRead]:
    """Lists users and service accounts that belong to the organization, by username."""
    statement = repository.organization_members(access.id, access.standing.now, search=q)
    total, accounts = repository.account_page(db, statement, page.offset, page.limit)
    page.announce(total)
    return read_members(db, accounts, access.id, access.standing.now)


def add_organization_member(access: MemberAdder, body: OrganizationMemberCreate, work: Work) -> MemberRead:
    """Makes an existing user, or a service account of the organization, a member."""
    place = access.place(work)
    who = find_account(place, body.user)
    add(place, who, wanted_roles(body.roles), body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.id, place.now)[0]


def update_organization_member(
    access: MemberEditor, principal_id: uuid.UUID, body: OrganizationMemberUpdate, work: Work
) -> MemberRead:
    """Replaces the organization roles of a member; those of the member's teams stay."""
    place = access.place(work)
    who = member(place, principal_id)
    change(place, who, wanted_roles(body.roles), body.expires)
    work.session.flush()
    return read_members(work.session, [who], access.id, place.now)[0]


def remove_organization_member(access: MemberRemover, principal_id: uuid.UUID, work: Work) -> None:
    """Ends a membership, and with it all roles, places in teams and shares in the organization; everybody may leave."""
    place = access.place(work)
    remove(place, member(place, principal_id))


def remove_organization_member_by_query(access: MemberLeaver, work: Work) -> None:
    """Ends the membership of `user_id` or `service_account_id`, like `DELETE …/members/{principal_id}`."""
    place = access.access.place(work)
    remove(place, member(place, access.principal_id))


def add_routes(router: Routes) -> None:
    """Adds the routes of this module to the router of organizations."""
    acting = responses(Forbidden, Conflict)
    path = "/{organization}/members"
    router.add_api_route(path, list_organization_members, methods=["GET"], responses=responses(Forbidden))
    router.add_api_route(path, add_organization_member, methods=["POST"], status_code=201, responses=acting)
    router.add_api_route(
        path, remove_organization_member_by_query, methods=["DELETE"], status_code=204, responses=acting
    )
    one = f"{path}/{{principal_id}}"
    router.add_api_route(one, update_organization_member, methods=["PATCH"], responses=acting)
    router.add_api_route(one, remove_organization_member, methods=["DELETE"], status_code=204, responses=acting)
