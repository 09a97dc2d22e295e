"""What the endpoints of personal and of service accounts' API keys share."""

import datetime as dt

from fastapi import Response

from nagaya.errors import InvalidInput
from nagaya.identity.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from nagaya.identity.service.api_keys import NewKey


def created(response: Response, new: NewKey) -> ApiKeyCreated:
    """Returns the one answer that holds a key's value, kept out of every cache."""
    response.headers["Cache-Control"] = "no-store"
    return ApiKeyCreated(**ApiKeyRead.model_validate(new.key).model_dump(), key=new.value)


def expiry(body: ApiKeyCreate, now: dt.datetime) -> dt.datetime | None:
    """Returns the end of life that a body asks for, None for the default.

    Raises:
        InvalidInput: Both ways of saying it are used, or the time has no time zone.
    """
    if body.expires is not None and body.expires_in_minutes is not None:
        raise InvalidInput("Use either expires or expires_in_minutes.", fields={"expires": "is given twice"})
    if body.expires_in_minutes is not None:
        return now + dt.timedelta(minutes=body.expires_in_minutes)
    if body.expires is not None and body.expires.tzinfo is None:
        raise InvalidInput("expires needs a time zone, e.g. 2030-01-31T12:00:00Z.", fields={"expires": "needs a zone"})
    return body.expires
