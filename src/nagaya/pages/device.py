"""The page on which a person lets a client in (RFC 8628 section 3.3)."""

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from nagaya.access.reach import tenants_of
from nagaya.errors import Conflict, InvalidInput, NotFound, TooManyRequests
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import UnitOfWork, origin_of, transact
from nagaya.identity.models import Device
from nagaya.identity.principal import Principal
from nagaya.identity.service import code_guard, devices, tenant_access
from nagaya.pages.browser import SignedIn, Submitted, view
from nagaya.pages.rendering import render
from nagaya.tenants import repository as tenants
from nagaya.tenants.spec import Addresses

router = Routes(prefix="/devices", include_in_schema=False)
CHOICES = 500


@dataclass(frozen=True)
class Choice:
    """A tenant that the client may be connected to.

    Args:
        id: Its id.
        label: `organization/name`, with the display name.
        chosen: Whether the client asked for it.
    """

    id: str
    label: str
    chosen: bool


def choices(work: UnitOfWork, state: AppState, principal: Principal, hint: str) -> list[Choice]:
    """Returns the tenants that a person may enter, the one that the client asked for marked.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: The person.
        hint: Id, name or `organization/name`, as `zenml login` puts it into the address.
    """
    reach = tenants_of(principal, state.now(), member_only=True)
    statement = tenants.listing(reach, tenants.Filters(), Addresses.of(state.settings))
    _total, rows = tenants.page(work.session, statement, 0, CHOICES)
    found = []
    for tenant, organization in rows:
        full = f"{organization.name}/{tenant.name}"
        label = full if tenant.display_name == tenant.name else f"{full} ({tenant.display_name})"
        found.append(Choice(str(tenant.id), label, hint != "" and hint in (str(tenant.id), tenant.name, full)))
    if len(found) == 1:
        found = [Choice(found[0].id, found[0].label, chosen=True)]
    return found


async def _ask(
    request: Request, state: AppState, principal: Principal, *, code: str, hint: str, error: str | None = None
) -> Response:
    def read(work: UnitOfWork) -> tuple[Device, list[Choice]]:
        return code_guard.find(work, state, principal, code), choices(work, state, principal, hint)

    device, offered = await view(request, read)
    return render(
        request,
        "device.html",
        title="Let this client in?",
        device=device,
        user_code=code,
        choices=offered,
        hint=hint,
        hint_unknown=hint != "" and not any(choice.chosen for choice in offered),
        error=error,
        status_code=422 if error else 200,
    )


def _enter_code(request: Request, hint: str, error: str | None = None, status: int = 200) -> Response:
    return render(request, "device_code.html", title="Enter the code", hint=hint, error=error, status_code=status)


@router.get("/verify")
async def verify_page(
    request: Request, state: State, principal: SignedIn, user_code: str = "", workspace: str = ""
) -> Response:
    """Shows who asks to be let in, or the field for the code."""
    if not user_code:
        return _enter_code(request, workspace[:64])
    try:
        return await _ask(request, state, principal, code=user_code[:32], hint=workspace[:64])
    except (NotFound, TooManyRequests) as error:
        return _enter_code(request, workspace[:64], error.detail, error.status)


@router.post("/verify")
async def decide(request: Request, state: State, principal: SignedIn, form: Submitted) -> Response:
    """Approves or denies."""
    code, hint, chosen = form.get("user_code", "")[:32], form.get("workspace", "")[:64], form.get("tenant", "")[:64]
    approve = form.get("decision") == "approve"

    def write(work: UnitOfWork) -> Device:
        device = code_guard.find(work, state, principal, code)
        tenant_id = None
        if approve and chosen:
            tenant_id = tenant_access.enterable(work.session, state, principal, chosen).id
        elif approve and device.zenml_version:
            raise InvalidInput("Choose the tenant that the client is to connect to.")
        return devices.decide(work, state, device, principal, approve=approve, tenant_id=tenant_id)

    try:
        device = await transact(state, origin_of(request), write)
    except InvalidInput as error:
        return await _ask(request, state, principal, code=code, hint=hint, error=error.detail)
    except (NotFound, TooManyRequests, Conflict) as error:
        return _enter_code(request, hint, error.detail, error.status)
    title = "The client is signed in" if approve else "The client was refused"
    return render(request, "device_done.html", title=title, approved=approve, device=device)
