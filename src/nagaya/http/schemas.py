"""Base classes and field types of everything that the API takes and gives."""

import datetime as dt
import re
import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

__all__ = ["AliasChoices", "DisplayName", "Email", "Input", "LongText", "Output", "RecordRead", "Slug", "Text", "clean"]

SLUG = r"^[a-z](?:-?[a-z0-9]){1,29}$"
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def clean(value: str) -> str:
    """Returns `value` unless it holds a NUL or another control character.

    Raises:
        ValueError: It does; databases and terminals disagree about such characters.
    """
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value or "\t" in value:
        raise ValueError("must be a single line")
    return value


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError("must be an address like name@example.com")
    return value


def _slug_hint(value: Any) -> Any:
    if isinstance(value, str) and (len(value) > 30 or not re.fullmatch(SLUG[1:-1], value)):
        raise ValueError("must be 2 to 30 lower-case letters, digits and single hyphens, and must start with a letter")
    return value


Text = Annotated[
    str, StringConstraints(max_length=200, strip_whitespace=True), AfterValidator(clean), AfterValidator(_one_line)
]
"""One line of up to 200 characters."""
LongText = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(clean)]
"""Text of several lines, e.g. Markdown, up to 64 KiB."""
DisplayName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, strip_whitespace=True),
    AfterValidator(clean),
    AfterValidator(_one_line),
]
Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=30), BeforeValidator(_slug_hint)]
"""Immutable name of an organization or a tenant."""
Email = Annotated[
    str, StringConstraints(max_length=254, strip_whitespace=True), AfterValidator(clean), AfterValidator(_email)
]


class Input(BaseModel):
    """Base of request bodies: unknown fields are refused, so that a typo cannot pass for success."""

    model_config = ConfigDict(extra="forbid", str_max_length=65_536)


class Output(BaseModel):
    """Base of answers; may be made from ORM objects."""

    model_config = ConfigDict(from_attributes=True)


class RecordRead(Output):
    """What every stored object shows."""

    id: uuid.UUID
    created: dt.datetime = Field(description="When it was created, UTC.")
    updated: dt.datetime = Field(description="When it was last changed, UTC.")
