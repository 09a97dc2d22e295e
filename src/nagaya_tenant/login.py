"""`POST /api/v1/login`: exchange of a platform token for a token of this tenant, without asking the platform.

Answers are those of ZenML's own handler (`zenml.zen_server.routers.auth_endpoints.token`), which asks the control plane
at every login; here the policy says who is a member, so logins of members work while the control plane is away.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from anyio import to_thread
from zenml.enums import OnboardingStep
from zenml.zen_server.utils import server_config, zen_store

from nagaya_tenant.errors import BadRequest, CredentialsRefused, Refusal
from nagaya_tenant.guard_requests import refuse_raw_key
from nagaya_tenant.guard_tokens import issue

if TYPE_CHECKING:
    from uuid import UUID

    from nagaya_policy.principals import Principal
    from nagaya_tenant.admission import Admission
    from nagaya_tenant.context import Tenant
    from nagaya_tenant.guard_requests import Request
    from nagaya_tenant.guard_tokens import PlatformToken

TOKEN_SECONDS = 3600
LARGEST_FORM = 65_536
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LOGIN_KINDS = frozenset({"session", "device"})

log = logging.getLogger(__name__)


class PlainRefusal(Refusal):
    """A refusal whose body is a plain sentence, where ZenML's handler answers with one."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, "ValueError", sentence)

    @property
    def body(self) -> Any:
        """`{"detail": "<sentence>"}`."""
        return {"detail": self.sentence}


class NotAuthorized(Refusal):
    """What ZenML answers when the control plane does not vouch for somebody."""

    def __init__(self) -> None:
        super().__init__(401, "AuthorizationException", "Not authorized to access this server.")


class Login:
    """The login of one tenant.

    Args:
        tenant: The parts of this process.
        admission: Decides on the platform's tokens.
    """

    def __init__(self, tenant: Tenant, admission: Admission) -> None:
        self._tenant = tenant
        self._admission = admission
        self._onboarded = False

    async def answer(self, request: Request, body: bytes) -> tuple[dict[str, Any], str | None]:
        """Answers a login request.

        Args:
            request: The request.
            body: Its form, at most `LARGEST_FORM` bytes.

        Returns:
            The JSON body of the answer, status 200, and the platform's id of who logged in, if anybody.

        Raises:
            Refusal: With ZenML's status and body.
        """
        _require_external(request, body)
        authorization = request.header(b"authorization")
        if not authorization:
            return {"authorization_url": server_config().external_login_url}, None
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise CredentialsRefused("Invalid request: invalid authorization header.")
        principal, verified = await self._verify(credential.strip())
        account = await self._account(principal, request)
        token = issue(account, principal.id, verified.session, TOKEN_SECONDS)
        return _token_response(token), principal.id

    async def _verify(self, credential: str) -> tuple[Principal, PlatformToken]:
        try:
            refuse_raw_key(credential)
            return await self._admission.admit(credential, _LOGIN_KINDS)
        except CredentialsRefused as error:
            log.info("A login was refused: %s", error.sentence)
            raise NotAuthorized from error

    async def _account(self, principal: Principal, request: Request) -> UUID:
        account = self._tenant.principals.known(principal)
        if account is None:
            account = await to_thread.run_sync(self._tenant.principals.ensure, principal)
        if not self._onboarded and "zenml/" in (request.header(b"user-agent") or "").lower():
            self._onboarded = True
            await to_thread.run_sync(_device_verified)
        return account


def _require_external(request: Request, body: bytes) -> None:
    """Goes on only for `zenml-external`, which is also what a form without any grant means in cloud mode."""
    content_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    if body and content_type != "application/x-www-form-urlencoded":
        raise BadRequest("The login form must be sent as application/x-www-form-urlencoded.", status=422)
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=64)
    fields = {name: values[-1] for name, values in form.items()}
    grant = fields.get("grant_type") or _implied_grant(fields)
    if grant == "zenml-external":
        return
    if grant == "password":
        raise PlainRefusal(400, "Unsupported grant type: password.")
    if grant == DEVICE_GRANT:
        raise PlainRefusal(403, "Device authorization is not supported.")
    if grant == "zenml-api-key":
        if not fields.get("password"):
            raise PlainRefusal(400, "API key is required.")
        raise CredentialsRefused(
            "API keys are exchanged at the control plane, not at the tenant: log in with `zenml login --api-key`, or "
            "set ZENML_PRO_API_URL, with a client of 0.84.3 or newer."
        )
    raise PlainRefusal(400, f"Unsupported grant type: {grant[:100]}")


def _implied_grant(fields: dict[str, str]) -> str:
    if "username" in fields:
        return "password"
    if fields.get("password"):
        return "zenml-api-key"
    return DEVICE_GRANT if fields.get("device_code") else "zenml-external"


def _token_response(token: str) -> dict[str, Any]:
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": TOKEN_SECONDS,
        "refresh_token": None,
        "csrf_token": None,
        "scope": None,
        "device_id": None,
        "device_metadata": None,
    }


def _device_verified() -> None:
    zen_store().update_onboarding_state(completed_steps={OnboardingStep.DEVICE_VERIFIED})
