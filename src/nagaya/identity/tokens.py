"""Issues and verifies the platform's tokens: JWS signed with Ed25519 (RFC 7515, RFC 8037)."""

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from nagaya.errors import NotAuthenticated
from nagaya.identity.keys import Keys

TokenType = Literal["session", "device", "tenant", "server"]
PLATFORM_AUDIENCE = "nagaya"
SERVER_AUDIENCE = "nagaya-server"
ALGORITHM = "EdDSA"
CLOCK_SKEW = 30
"""Seconds that the clock of another replica may be ahead."""


class _OnlyEdDSA(JWSRegistry):
    """Knows one algorithm. Its name is RFC 8037's, because the verifiers of every ZenML engine know that one."""

    def get_alg(self, name: str) -> Any:
        """Returns the algorithm, or refuses any other name."""
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(f"the algorithm {name!r} is not accepted")
        return self.algorithms[ALGORITHM]


@dataclass(frozen=True)
class Claims:
    """What a verified token says.

    Args:
        type: Its `typ` claim.
        subject: User, service account or, for `server`, tenant.
        session_id: Session that it came out of; for `server`, the enrollment key, or None if the platform runs it.
        issued_at: Unix time in seconds.
        expires: Unix time in seconds.
    """

    type: TokenType
    subject: uuid.UUID
    session_id: uuid.UUID | None
    issued_at: int
    expires: int


class Tokens:
    """Issues and verifies tokens of one installation.

    Args:
        keys: The keys.
        issuer: The public URL.
        now: The clock.
    """

    def __init__(self, keys: Keys, issuer: str, now: Callable[[], dt.datetime]) -> None:
        self._keys = keys
        self._key_set = KeySet([keys.signing])
        self._registry = _OnlyEdDSA()
        self._issuer = issuer
        self._now = now

    def issue(
        self,
        kind: TokenType,
        subject: uuid.UUID,
        *,
        audience: str,
        seconds: int,
        session_id: uuid.UUID | None = None,
        epoch: int | None = None,
    ) -> str:
        """Returns a signed token.

        Args:
            kind: Its `typ` claim.
            subject: User, service account or tenant.
            audience: Who is to accept it.
            seconds: Life.
            session_id: Session, or enrollment key, that it comes out of.
            epoch: The principal's `valid_after`.
        """
        now = int(self._now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": audience,
            "typ": kind,
            "sub": str(subject),
            "iat": now,
            "exp": now + seconds,
            "jti": uuid.uuid4().hex,
        }
        if session_id is not None:
            claims["sid"] = str(session_id)
        if epoch is not None:
            claims["epoch"] = epoch
        header = {"alg": ALGORITHM, "kid": self._keys.kid}
        return jwt.encode(header, claims, self._keys.signing, registry=self._registry)

    def verify(self, token: str, *, audience: str, kinds: frozenset[TokenType]) -> Claims:
        """Returns the claims of a token that is genuine, unexpired and meant for `audience`.

        Args:
            token: Compact serialization.
            audience: What `aud` must be.
            kinds: What `typ` may be.

        Raises:
            NotAuthenticated: It is not.
        """
        try:
            decoded = jwt.decode(token, self._key_set, registry=self._registry)
            claims = decoded.claims
            result = Claims(
                type=claims["typ"],
                subject=uuid.UUID(claims["sub"]),
                session_id=uuid.UUID(claims["sid"]) if "sid" in claims else None,
                issued_at=int(claims["iat"]),
                expires=int(claims["exp"]),
            )
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise NotAuthenticated("The token is not valid; sign in again.") from None
        now = int(self._now().timestamp())
        meant = claims.get("iss") == self._issuer and claims.get("aud") == audience and result.type in kinds
        if not meant or result.type not in get_args(TokenType):
            raise NotAuthenticated("The token is not meant for this; sign in again.")
        if now >= result.expires or result.issued_at > now + CLOCK_SKEW:
            raise NotAuthenticated("The token has expired; sign in again.")
        return result
