"""The one base class of errors that the API can answer with, and the envelope they are written in."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from nagaya.rates import Refused


class ErrorBody(BaseModel):
    """The error envelope of the whole API; `detail` is the member that stock ZenML clients print."""

    error: str = Field(description="Code of the error: the name of its class.")
    detail: str = Field(description="What was wrong and what to do, in a sentence.")
    fields: dict[str, str] | None = Field(default=None, description="For invalid input: message by field.")
    request_id: str | None = Field(default=None, description="Id to quote when asking the operator.")


class NagayaError(Exception):
    """Base of all errors that reach a caller.

    Args:
        detail: What was wrong and what to do, in a sentence. No secrets.
        fields: For invalid input, a message by field name.
        headers: Extra response headers.
    """

    status: ClassVar[int] = 500

    def __init__(
        self, detail: str, *, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = dict(fields) if fields else None
        self.headers = dict(headers) if headers else {}

    @property
    def code(self) -> str:
        """The error code: the class name."""
        return type(self).__name__

    def body(self, request_id: str | None) -> ErrorBody:
        """Returns the envelope.

        Args:
            request_id: Id of the request that failed.
        """
        return ErrorBody(error=self.code, detail=self.detail, fields=self.fields, request_id=request_id)


class InvalidInput(NagayaError):
    """The request was understood and is not acceptable (422)."""

    status = 422


class BadRequest(NagayaError):
    """The request is malformed (400)."""

    status = 400


class NotAuthenticated(NagayaError):
    """No credentials, or credentials that are not valid (401)."""

    status = 401

    def __init__(self, detail: str = "Sign in first: no valid credentials were sent.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class LimitReached(NagayaError):
    """A limit of the tenant or of its organization is reached (402, as ZenML's feature gate expects it)."""

    status = 402


class Forbidden(NagayaError):
    """Authenticated and the object is known, but the act is not allowed; `detail` carries the reason (403)."""

    status = 403


class NotFound(NagayaError):
    """Does not exist, or belongs to an organization or tenant that the caller may not know of (404)."""

    status = 404


class Conflict(NagayaError):
    """Clashes with something that exists, or with the object's state (409)."""

    status = 409


class Gone(NagayaError):
    """Existed once and cannot be used any more (410)."""

    status = 410


class PayloadTooLarge(NagayaError):
    """The body is over the limit (413)."""

    status = 413


class TooManyRequests(NagayaError):
    """A rate limit was reached; `Retry-After` says when to try again (429).

    Args:
        detail: Which limit, in a sentence.
        retry_after: Seconds until the next attempt has a chance.
        limit: How much is allowed at once, told in `RateLimit-*` headers.
        reset: Seconds until that much is allowed again; `retry_after` if left out.
    """

    status = 429

    def __init__(self, detail: str, *, retry_after: int, limit: int | None = None, reset: int | None = None) -> None:
        told = () if limit is None else Refused(limit, retry_after, reset or retry_after).headers()
        super().__init__(detail, headers={"Retry-After": str(retry_after), **dict(told)})


class Unavailable(NagayaError):
    """Something that the request needs does not answer at the moment (503)."""

    status = 503


def responses(*errors: type[NagayaError]) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI `responses` of an endpoint that can fail with `errors`.

    Args:
        errors: The classes that the endpoint raises itself, without those that its router declares.
    """
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = by_status.setdefault(error.status, {"model": ErrorBody, "description": ""})
        summary = (error.__doc__ or error.__name__).strip().splitlines()[0]
        entry["description"] = f"{entry['description']} {summary}".strip()
    return by_status
