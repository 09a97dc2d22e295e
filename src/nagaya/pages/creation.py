"""Pages on which organizations and tenants are made."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Path, Request
from starlette.responses import Response

from nagaya.access.policy import OrganizationAccess, reach_organization
from nagaya.errors import Forbidden, InvalidInput, NagayaError
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import UnitOfWork, origin_of, transact
from nagaya.identity.principal import Principal
from nagaya.organizations.schemas import OrganizationCreate
from nagaya.organizations.service import Organizations
from nagaya.pages.browser import SignedIn, Submitted, go, view
from nagaya.pages.rendering import render
from nagaya.pages.validation import read_form
from nagaya.tenants.platform import platform_of
from nagaya.tenants.schemas import TenantCreate
from nagaya.tenants.service import Tenants, slug_of

router = Routes(include_in_schema=False)
Name = Annotated[str, Path(max_length=64)]
_TENANT_FIELDS = ("display_name", "name", "stage", "description")
_CORRECTABLE = (409, 422, 503)
"""Answers after which the visitor may want to change the form and send it again."""


@dataclass(frozen=True)
class Entered:
    """What a form holds when it is shown.

    Args:
        values: What the visitor typed.
        error: Why it was refused; None if it is shown for the first time.
    """

    values: dict[str, str] = field(default_factory=dict)
    error: NagayaError | None = None

    def shown(self) -> dict[str, Any]:
        """Returns what the template needs of it, the status of the answer included."""
        if self.error is None:
            return {"values": self.values, "problems": {}}
        problems = {name: text for name, text in (self.error.fields or {}).items() if name in self.values}
        named = bool(problems) and len(problems) == len(self.error.fields or {})
        summary = "Please correct what is marked below." if named else self.error.detail
        return {"values": self.values, "problems": problems, "error": summary, "status_code": self.error.status}


def may_create_organizations(state: AppState, principal: Principal) -> bool:
    """Whether the visitor may make organizations.

    Args:
        state: The application's state.
        principal: The visitor.
    """
    return Organizations.may_create(platform_of(state), principal)


def _tenant_wanted(form: dict[str, str], prefix: str = "") -> TenantCreate:
    """Reads the fields of a new tenant; the fields of an error are called as in the form."""
    given = {name: form.get(prefix + name, "").strip() for name in _TENANT_FIELDS}
    if not given["display_name"] and not given["name"]:
        raise InvalidInput("Give a name.", fields={f"{prefix}display_name": "Give a name."})
    try:
        if not given["name"]:
            given["name"] = slug_of(given["display_name"])
        return read_form(TenantCreate, **{name: value for name, value in given.items() if value})
    except InvalidInput as error:
        raise InvalidInput(
            error.detail, fields={prefix + name: text for name, text in (error.fields or {}).items()}
        ) from error


def _kept(form: dict[str, str]) -> dict[str, str]:
    names = [prefix + name for prefix in ("", "tenant_") for name in _TENANT_FIELDS]
    return {name: form.get(name, "")[:5000] for name in names}


async def _tenant_form(
    request: Request, state: AppState, principal: Principal, name: str, entered: Entered
) -> Response:
    def read(work: UnitOfWork) -> OrganizationAccess:
        access = reach_organization(work.session, principal, name, state.now())
        access.standing.require("tenant:create")
        return access

    organization = (await view(request, read)).organization
    return render(request, "new_tenant.html", title="New Tenant", organization=organization, **entered.shown())


@router.get("/o/{organization}/tenants/new")
async def new_tenant_page(organization: Name, request: Request, state: State, principal: SignedIn) -> Response:
    """Shows the form of a new tenant."""
    return await _tenant_form(request, state, principal, organization, Entered())


@router.post("/o/{organization}/tenants")
async def create_tenant(
    organization: Name, request: Request, state: State, principal: SignedIn, form: Submitted
) -> Response:
    """Makes a tenant and shows its page."""

    def write(work: UnitOfWork) -> str:
        access = reach_organization(work.session, principal, organization, state.now())
        access.standing.require("tenant:create")
        tenant, _operation = Tenants(work, platform_of(state), state.now()).create(access, _tenant_wanted(form))
        return f"/o/{access.organization.name}/t/{tenant.name}"

    try:
        target = await transact(state, origin_of(request), write)
    except NagayaError as error:
        if error.status not in _CORRECTABLE:
            raise
        return await _tenant_form(request, state, principal, organization, Entered(_kept(form), error))
    return go(request, target)


def _organization_form(request: Request, entered: Entered) -> Response:
    return render(request, "new_organization.html", title="New Organization", **entered.shown())


@router.get("/organizations/new")
async def new_organization_page(request: Request, state: State, principal: SignedIn) -> Response:
    """Shows the form of a new organization with its first tenant.

    Raises:
        Forbidden: The visitor may not make any.
    """
    if not may_create_organizations(state, principal):
        raise Forbidden("You may not create organizations: only superusers may on this installation.")
    return _organization_form(request, Entered())


@router.post("/organizations")
async def create_organization(request: Request, state: State, principal: SignedIn, form: Submitted) -> Response:
    """Makes an organization, and its first tenant if one is named: both or nothing."""

    def write(work: UnitOfWork) -> str:
        display_name, name = form.get("display_name", "").strip(), form.get("name", "").strip()
        wanted = read_form(
            OrganizationCreate,
            name=name or slug_of(display_name),
            display_name=display_name or None,
            description=form.get("description", ""),
        )
        access = Organizations(work, platform_of(state), state.now()).create(principal, wanted)
        home = f"/o/{access.organization.name}"
        if not any(form.get(f"tenant_{each}", "").strip() for each in _TENANT_FIELDS):
            return home
        body = _tenant_wanted(form, "tenant_")
        tenant, _operation = Tenants(work, platform_of(state), state.now()).create(access, body)
        return f"{home}/t/{tenant.name}"

    try:
        target = await transact(state, origin_of(request), write)
    except NagayaError as error:
        if error.status not in _CORRECTABLE:
            raise
        return _organization_form(request, Entered(_kept(form), error))
    return go(request, target)
