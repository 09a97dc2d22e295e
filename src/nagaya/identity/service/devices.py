"""The device authorization grant (RFC 8628), by which the stock client signs in."""

import datetime as dt
import re
import secrets
import uuid
from dataclasses import dataclass

from nagaya import audit
from nagaya.access.changes import principal_changed
from nagaya.errors import Conflict, NotFound, TooManyRequests
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import Device, Session
from nagaya.identity.principal import Principal
from nagaya.identity.service import sessions

USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants only, as RFC 8628 section 6.1 advises: no words, nothing to confuse."""
USER_CODE_LENGTH = 8
SLOW_DOWN_SECONDS = 5
"""What RFC 8628 section 3.5 adds to the interval with each `slow_down`."""
CLOCK_TOLERANCE = 0.5
"""A client that sleeps exactly the interval must not be told to slow down for a timer's rounding."""
OPEN_PER_ADDRESS = 100
"""Requests that one address may have open at one time: anybody may begin one, and each is a row."""
_AGENT_PART = re.compile(r"(\S+?)/(\S+)")


@dataclass(frozen=True)
class Started:
    """What the client and its user get. The codes appear nowhere else in clear text.

    Args:
        device: The stored authorization.
        device_code: For the client.
        user_code: For the person, `XXXX-XXXX`.
    """

    device: Device
    device_code: str
    user_code: str


@dataclass(frozen=True)
class OAuthFailure:
    """An error answer of RFC 6749 section 5.2 and RFC 8628 section 3.5.

    Args:
        error: Its code.
        description: Its sentence.
    """

    error: str
    description: str


@dataclass(frozen=True)
class Granted:
    """A token for a device.

    Args:
        issued: The token.
        device: The authorization that it came out of.
    """

    issued: sessions.Issued
    device: Device


def start(work: UnitOfWork, state: AppState, client_id: uuid.UUID, place: sessions.Place) -> Started:
    """Begins an authorization.

    Args:
        work: The unit of work.
        state: The application's state.
        client_id: What the client calls itself; its codes work for this id only.
        place: Address and user agent; the stock client's agent names host, system and versions.

    Raises:
        TooManyRequests: Too many requests from this address wait for an answer.
    """
    if repository.open_devices(work.session, place.address, state.now()) >= OPEN_PER_ADDRESS:
        seconds = state.settings.device_code_seconds
        detail = "Too many sign-ins wait for an answer; try again later."
        raise TooManyRequests(detail, retry_after=seconds, limit=OPEN_PER_ADDRESS)
    device_code = secrets.token_urlsafe(32)
    letters = "".join(secrets.choice(USER_CODE_ALPHABET) for _ in range(USER_CODE_LENGTH))
    agent = {key.lower(): value for key, value in _AGENT_PART.findall(place.user_agent)}
    now = state.now()
    device = Device(
        id=uuid.uuid4(),
        client_id=client_id,
        device_code_hash=state.keys.keyed_hash("device-code", device_code),
        user_code_hash=state.keys.keyed_hash("user-code", letters),
        status="pending",
        created=now,
        expires=now + dt.timedelta(seconds=state.settings.device_code_seconds),
        interval=state.settings.device_interval,
        hostname=agent.get("host", "")[:200],
        system=agent.get("os", "")[:64],
        python_version=agent.get("python", "")[:32],
        zenml_version=agent.get("zenml", "")[:32],
        address=place.address,
    )
    work.session.add(device)
    audit.record(work, "device.create", audit.Target("device", device.id, device.hostname))
    return Started(device, device_code, f"{letters[:4]}-{letters[4:]}")


def poll(
    work: UnitOfWork, state: AppState, client_id: uuid.UUID, device_code: str, place: sessions.Place
) -> Granted | OAuthFailure:
    """Answers a client that asks whether its authorization was approved.

    Args:
        work: The unit of work.
        state: The application's state.
        client_id: The id that began the authorization.
        device_code: Its code.
        place: From where.
    """
    device = repository.device_by_hash(work.session, device_code=state.keys.keyed_hash("device-code", device_code))
    if device is None or device.client_id != client_id or device.status == "used":
        return OAuthFailure("invalid_grant", "The device code is unknown, was used, or belongs to another client.")
    refusal = _refusal(device, state.now())
    if refusal is not None:
        return refusal
    user = repository.user(work.session, device.user_id) if device.user_id else None
    if user is None or not user.is_active:
        return OAuthFailure("access_denied", "The account that approved this is not active any more.")
    device.status = "used"
    return Granted(sessions.begin(work, state, user, "device", place, device_id=device.id), device)


def _refusal(device: Device, now: dt.datetime) -> OAuthFailure | None:
    """Returns the error of RFC 8628 section 3.5 that applies, or None if the device is approved."""
    waited = None if device.last_poll is None else (now - device.last_poll).total_seconds()
    device.last_poll = now
    if device.status == "denied":
        return OAuthFailure("access_denied", "The request was denied in the browser.")
    if device.expires <= now:
        return OAuthFailure("expired_token", "The code has expired; start the sign-in again.")
    if waited is not None and waited < device.interval - CLOCK_TOLERANCE:
        device.interval += SLOW_DOWN_SECONDS
        return OAuthFailure("slow_down", f"Wait {device.interval} seconds between two requests.")
    if device.status == "pending":
        return OAuthFailure("authorization_pending", "Nobody has answered in the browser yet.")
    return None


def by_user_code(work: UnitOfWork, state: AppState, user_code: str) -> Device:
    """Returns the pending authorization that a person typed the code of, in any case and punctuation.

    Args:
        work: The unit of work.
        state: The application's state.
        user_code: What was typed.

    Raises:
        NotFound: There is none, or it has expired or was answered.
    """
    letters = "".join(character for character in user_code.upper() if character in USER_CODE_ALPHABET)
    device = repository.device_by_hash(work.session, user_code=state.keys.keyed_hash("user-code", letters))
    if device is None or device.status != "pending" or device.expires <= state.now():
        raise NotFound("There is no open request with this code. Compare it with your terminal, or start again there.")
    return device


def decide(
    work: UnitOfWork,
    state: AppState,
    device: Device,
    principal: Principal,
    *,
    approve: bool,
    tenant_id: uuid.UUID | None,
) -> Device:
    """Approves or denies an authorization.

    Args:
        work: The unit of work.
        state: The application's state.
        device: A pending authorization.
        principal: The person who answers.
        tenant_id: The tenant that the client is to connect to, which the person was found to be allowed to enter.
        approve: The answer.

    Raises:
        Conflict: Somebody has answered meanwhile, or it has expired.
    """
    if device.status != "pending" or device.expires <= state.now():
        raise Conflict("This request was answered already or has expired.")
    device.status = "approved" if approve else "denied"
    device.user_id = principal.id
    device.tenant_id = tenant_id if approve else None
    audit.record(
        work,
        "device.approve" if approve else "device.deny",
        audit.Target("device", device.id, device.hostname),
        tenant_id=device.tenant_id,
        details={"system": device.system, "zenml_version": device.zenml_version, "address": device.address},
    )
    return device


def own(work: UnitOfWork, principal: Principal, device_id: uuid.UUID) -> Device:
    """Returns a device that the caller has answered for.

    Raises:
        NotFound: The caller has none with this id.
    """
    device = repository.device(work.session, device_id)
    if device is None or device.user_id != principal.id:
        raise NotFound("You have no such device.")
    return device


def remove(work: UnitOfWork, state: AppState, principal: Principal, device: Device) -> None:
    """Deletes a device and ends its sessions.

    Args:
        work: The unit of work.
        state: The application's state.
        principal: Its owner.
        device: The device.
    """
    ended = repository.revoke_sessions(work.session, state.now(), Session.device_id == device.id)
    audit.record(work, "device.delete", audit.Target("device", device.id, device.hostname))
    work.session.delete(device)
    if ended:
        principal_changed(work, principal.id)


def rename(work: UnitOfWork, device: Device, hostname: str) -> Device:
    """Gives a device another name.

    Args:
        work: The unit of work.
        device: The device.
        hostname: The name.
    """
    device.hostname = hostname
    audit.record(work, "device.update", audit.Target("device", device.id, hostname))
    return device
