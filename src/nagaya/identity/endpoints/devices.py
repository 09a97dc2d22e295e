"""Devices that a person has let in: `/devices`."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import Path

from nagaya.errors import Conflict, InvalidInput, TooManyRequests, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work
from nagaya.identity import repository
from nagaya.identity.models import Device
from nagaya.identity.policy import CurrentUser, InteractiveUser
from nagaya.identity.schemas import DeviceRead, DeviceUpdate, DeviceVerify
from nagaya.identity.service import code_guard, devices, tenant_access

router = Routes(prefix="/devices", tags=["devices"], route_class=TransactionRoute)


@router.get("", response_model=list[DeviceRead])
def list_devices(principal: CurrentUser, work: Work, page: Paging) -> Sequence[Device]:
    """Lists the device authorizations that the caller has answered, newest first."""
    return page.fetch(work.session, repository.devices(principal.id))


@router.put("/verify", response_model=DeviceRead, responses=responses(Conflict, TooManyRequests))
def verify_device(body: DeviceVerify, work: Work, state: State, principal: InteractiveUser) -> Device:
    """Approves or denies the device that shows `user_code`."""
    device = code_guard.find(work, state, principal, body.user_code)
    tenant_id = None
    if body.approve:
        if body.tenant_id is None and device.zenml_version:
            # The stock client cannot do without (zenml ≤ 0.98.0 fails on `UUID(None)`).
            raise InvalidInput("Choose a tenant to connect to.", fields={"tenant_id": "is needed to approve"})
        if body.tenant_id is not None:
            tenant_id = tenant_access.enterable(work.session, state, principal, str(body.tenant_id)).id
    return devices.decide(work, state, device, principal, approve=body.approve, tenant_id=tenant_id)


@router.get("/{id_or_code}", response_model=DeviceRead, responses=responses(TooManyRequests))
def get_device(
    id_or_code: Annotated[str, Path(max_length=64)], work: Work, state: State, principal: CurrentUser
) -> Device:
    """Returns one of the caller's devices by id, or an open request by its user code."""
    try:
        device_id = uuid.UUID(id_or_code)
    except ValueError:
        return code_guard.find(work, state, principal, id_or_code)
    return devices.own(work, principal, device_id)


@router.put("/{device_id}", response_model=DeviceRead)
def rename_device(device_id: uuid.UUID, body: DeviceUpdate, work: Work, principal: CurrentUser) -> Device:
    """Renames one of the caller's devices."""
    return devices.rename(work, devices.own(work, principal, device_id), body.hostname)


@router.delete("/{device_id}", status_code=204)
def delete_device(device_id: uuid.UUID, work: Work, state: State, principal: CurrentUser) -> None:
    """Removes one of the caller's devices and ends its sessions."""
    devices.remove(work, state, principal, devices.own(work, principal, device_id))
