"""Verification of the bearer tokens that the guard accepts: the platform's (Ed25519) and ZenML's own (HS256)."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import jwt
from zenml.exceptions import CredentialsNotValid
from zenml.models import OAuthTokenResponse
from zenml.zen_server.jwt import JWTToken
from zenml.zen_server.utils import get_auth_context

from nagaya_tenant.errors import CredentialsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nagaya_tenant.policy_state import PolicyState

LEEWAY_SECONDS = 10
_CACHED_TOKENS = 2048
_LONGEST_TOKEN = 8192


class PlatformToken(NamedTuple):
    """A verified token of the platform.

    Args:
        kind: The claim `typ`: `session`, `device` or `tenant`.
        principal: The claim `sub`.
        session: The claim `sid`.
        issued_at: Seconds since the epoch.
        expires: Seconds since the epoch.
    """

    kind: str
    principal: str
    session: str
    issued_at: float
    expires: float


class OwnToken(NamedTuple):
    """A verified token of this tenant's ZenML server.

    Args:
        account: ZenML's id of the account.
        principal: The platform's id, if the guard issued the token.
        session: The platform's session, if the guard issued the token.
        issued_at: Seconds since the epoch.
        expires: Seconds since the epoch; `None` for tokens of runs, which end with the run.
        run_scope: Whether the token is bound to a run, a schedule or a deployment.
        deployment: The deployment that it is bound to.
    """

    account: UUID
    principal: str | None
    session: str | None
    issued_at: float
    expires: float | None
    run_scope: bool
    deployment: UUID | None


def is_platform_token(token: str) -> bool:
    """Whether a JWS says that Ed25519 signed it; which checks apply follows from this, never from the token's wishes.

    Raises:
        CredentialsRefused: It is not a JWS at all.
    """
    if len(token) > _LONGEST_TOKEN:
        raise CredentialsRefused("Authentication error: the token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise CredentialsRefused("Authentication error: the bearer token is not one of this tenant.") from None
    return bool(header.get("alg") == "EdDSA")


class Tokens:
    """Verifies tokens, with a small cache of those that verified.

    Args:
        policy: Gives the issuer and its public keys.
        tenant_id: Audience of tokens for this tenant.
    """

    def __init__(self, policy: PolicyState, tenant_id: str) -> None:
        self._policy = policy
        self._tenant_id = tenant_id
        self._keys: dict[str, Any] = {}
        self._keys_of: object = None
        self._platform: OrderedDict[str, tuple[object, PlatformToken]] = OrderedDict()
        self._own: OrderedDict[str, OwnToken] = OrderedDict()

    def platform(self, token: str, kinds: frozenset[str]) -> PlatformToken:
        """Verifies a token of the platform.

        Args:
            token: The JWS.
            kinds: Which `typ` claims are acceptable here.

        Raises:
            CredentialsRefused: The signature, a claim, or the kind of token is wrong.
        """
        policy = self._policy.current()
        if not is_platform_token(token):
            raise CredentialsRefused("Authentication error: the token is not one of the platform.")
        cached = self._platform.get(token)
        if cached is not None and cached[0] is policy.jwks:
            verified = cached[1]
        else:
            verified = self._verify_platform(token, policy.jwks, policy.issuer)
            _put(self._platform, token, (policy.jwks, verified))
        if verified.expires + LEEWAY_SECONDS < self._policy.now():
            raise CredentialsRefused("Authentication error: the token has expired; log in again.")
        if verified.kind not in kinds:
            raise CredentialsRefused("Authentication error: this kind of token cannot be used here.")
        return verified

    def own(self, token: str) -> OwnToken:
        """Verifies a token of this tenant's ZenML server, with ZenML's own code.

        Raises:
            CredentialsRefused: The signature or a claim is wrong.
        """
        cached = self._own.get(token)
        if cached is None:
            try:
                decoded = JWTToken.decode_token(token)
            except CredentialsNotValid as error:
                raise CredentialsRefused(f"Authentication error: error decoding access token: {error}.") from error
            cached = _own(decoded)
            _put(self._own, token, cached)
        if cached.expires is not None and cached.expires + LEEWAY_SECONDS < self._policy.now():
            raise CredentialsRefused("Authentication error: the token has expired; log in again.")
        return cached

    def _verify_platform(self, token: str, jwks: Mapping[str, Any], issuer: str | None) -> PlatformToken:
        if issuer is None:
            raise CredentialsRefused("Authentication error: this tenant does not know who signs tokens.")
        key = self._key(jwks, jwt.get_unverified_header(token).get("kid"))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=[self._tenant_id, "nagaya"],
                issuer=issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "aud", "iss", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise CredentialsRefused(f"Authentication error: the platform's token is not valid: {error}.") from error
        kind, session = claims.get("typ"), claims.get("sid")
        audience = self._tenant_id if kind == "tenant" else "nagaya"
        if kind not in {"tenant", "session", "device"} or claims["aud"] != audience or not isinstance(session, str):
            raise CredentialsRefused("Authentication error: the platform's token is not one for people.")
        return PlatformToken(kind, str(claims["sub"]), session, float(claims["iat"]), float(claims["exp"]))

    def _key(self, jwks: Mapping[str, Any], key_id: object) -> Any:
        if self._keys_of is not jwks:
            self._keys = {
                str(each.get("kid")): jwt.PyJWK(each, algorithm="EdDSA").key
                for each in jwks.get("keys", ())
                if each.get("kty") == "OKP" and each.get("crv") == "Ed25519" and each.get("use", "sig") == "sig"
            }
            self._keys_of = jwks
        try:
            return self._keys[str(key_id)]
        except KeyError:
            raise CredentialsRefused("Authentication error: the token is signed with an unknown key.") from None


def issue(account: UUID, principal: str, session: str | None, seconds: int) -> str:
    """Issues a ZenML token for an account, marked with the principal and the platform session that it stands for.

    Args:
        account: ZenML's id of the account.
        principal: The platform's id.
        session: The platform's session, if any.
        seconds: Life of the token.
    """
    now = datetime.datetime.now(datetime.UTC)
    mark = {"sub": principal} if session is None else {"sub": principal, "sid": session}
    token = JWTToken(user_id=account, claims={"nagaya": mark}, issued_at=now)
    encoded: str = token.encode(expires=now + datetime.timedelta(seconds=seconds))
    return encoded


def follow_session(user_id: UUID, expires_in: int, **_other: Any) -> OAuthTokenResponse:
    """Stands where `GET /stack-deployment/config` calls ZenML's `generate_access_token`, which forgets our mark.

    The token that it puts into a deployment's script ends with the session of whoever asked for the script.

    Args:
        user_id: ZenML's id of the account.
        expires_in: Life of the token, seconds.
        _other: What ZenML would keep of API keys and devices of its own; there are none here.

    Raises:
        CredentialsNotValid: The caller's token is not one that the guard issued.
    """
    context = get_auth_context()
    mark = context.access_token.claims.get("nagaya") if context and context.access_token else None
    if not isinstance(mark, dict) or "sub" not in mark:
        raise CredentialsNotValid("This token cannot be used to make another one; log in again.")
    token = issue(user_id, mark["sub"], mark.get("sid"), expires_in)
    return OAuthTokenResponse(access_token=token, token_type="bearer", expires_in=expires_in)  # noqa: S106 - a type.


def _own(decoded: Any) -> OwnToken:
    mark = decoded.claims.get("nagaya")
    mark = mark if isinstance(mark, dict) else {}
    expires = decoded.claims.get("exp")
    return OwnToken(
        account=decoded.user_id,
        principal=mark.get("sub"),
        session=mark.get("sid"),
        issued_at=_issued_at(decoded),
        expires=None if expires is None else float(expires),
        run_scope=bool(decoded.pipeline_run_id or decoded.schedule_id or decoded.deployment_id),
        deployment=decoded.deployment_id,
    )


def _issued_at(decoded: Any) -> float:
    """When a token was issued; 0 if it does not say, which is before any revocation."""
    issued_at = getattr(decoded, "issued_at", None)
    if issued_at is None:
        # ZenML 0.94.6 leaves the claim among the others.
        return float(decoded.claims.get("iat", 0))
    # Later releases give it back as a naive time in UTC.
    seconds: float = issued_at.replace(tzinfo=datetime.UTC).timestamp()
    return seconds


def _put(cache: OrderedDict[str, Any], key: str, value: Any) -> None:
    cache[key] = value
    while len(cache) > _CACHED_TOKENS:
        cache.popitem(last=False)
