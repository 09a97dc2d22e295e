"""Turns exceptions into the API's one error envelope, and logs what is our own fault once."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nagaya.db.errors import is_outage
from nagaya.errors import BadRequest, Conflict, ErrorBody, InvalidInput, NagayaError, NotFound, Unavailable
from nagaya.pages.errors import error_page, wants_page

log = structlog.get_logger("nagaya.error")


class MethodNotAllowed(NagayaError):
    """The path exists, but not for this method (405)."""

    status = 405


class InternalError(NagayaError):
    """A fault of the platform; the log has the details under the request's id (500)."""

    status = 500


def request_id_of(request: Request) -> str | None:
    """Returns the id of a request."""
    return getattr(request.state, "request_id", None)


def answer(request: Request, error: NagayaError) -> Response:
    """Returns the response for an error: a page for browsers, else the envelope.

    Args:
        request: The request that failed.
        error: The error.
    """
    if wants_page(request):
        return error_page(request, error)
    return envelope(request, error)


def envelope(request: Request, error: NagayaError) -> JSONResponse:
    """Returns the error as JSON."""
    body: ErrorBody = error.body(request_id_of(request))
    return JSONResponse(body.model_dump(), status_code=error.status, headers=error.headers)


async def on_nagaya_error(request: Request, error: Exception) -> Response:
    """Answers with an error of ours."""
    assert isinstance(error, NagayaError)
    if error.status >= 500:
        log.warning("unavailable", code=error.code, detail=error.detail, cause=repr(error.__cause__))
    return answer(request, error)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answers 422 with a message by field."""
    assert isinstance(error, RequestValidationError)
    fields: dict[str, str] = {}
    for item in error.errors():
        place = [str(part) for part in item["loc"] if part not in ("body", "query", "path", "header", "cookie")]
        message = str(item["msg"]).removeprefix("Value error, ")
        fields[".".join(place) or str((*item["loc"], "body")[0])] = message
        if item["type"] in ("json_invalid", "json_type"):
            return answer(
                request, BadRequest(f"The body is not valid JSON: {item.get('ctx', {}).get('error', message)}.")
            )
    summary = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return answer(request, InvalidInput(f"The input is not valid: {summary[:1000]}.", fields=fields))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answers for errors that the framework raises itself."""
    assert isinstance(error, HTTPException)
    ours: NagayaError
    if isinstance(error.__cause__, NagayaError):
        # FastAPI turns whatever happens while it reads a body into a plain 400.
        return answer(request, error.__cause__)
    if error.status_code == 404:
        ours = NotFound(f"There is nothing at {request.url.path[:200]}.")
    elif error.status_code == 405:
        ours = MethodNotAllowed(f"{request.method} is not possible here.", headers=error.headers)
    else:
        ours = BadRequest(str(error.detail), headers=error.headers)
    return answer(request, ours)


async def on_database_error(request: Request, error: Exception) -> Response:
    """Answers for failures of the database: 503 if trying again may help, 409 for a lost race, 422 for values."""
    if isinstance(error, IntegrityError):
        log.info("conflict", error=str(error.orig))
        return answer(request, Conflict("Somebody else changed the same thing at this moment; look again and retry."))
    if isinstance(error, DataError):
        return answer(request, InvalidInput("A value cannot be stored: it is too long or out of range."))
    if not is_outage(error):
        return on_unexpected(request, error)
    log.error("database", error=type(error).__name__, detail=str(getattr(error, "orig", error)))
    return answer(
        request,
        Unavailable("The database does not answer at the moment; try again shortly.", headers={"Retry-After": "2"}),
    )


def on_unexpected(request: Request, error: Exception) -> Response:
    """Answers 500 without details and logs the traceback, without local variables."""
    log.error("unexpected", method=request.method, path=request.url.path, exc_info=error)
    return answer(
        request,
        InternalError(f"Something went wrong on our side. Quote the id {request_id_of(request)} to the operator."),
    )


def install(app: FastAPI) -> None:
    """Registers the handlers. What nobody expects is answered by `RequestContext`, which is around everything.

    Args:
        app: The application.
    """
    app.add_exception_handler(NagayaError, on_nagaya_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    for kind in (DBAPIError, PoolTimeout):
        app.add_exception_handler(kind, on_database_error)
