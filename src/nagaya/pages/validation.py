"""Reads form fields with the same types that the API uses."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nagaya.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)


def read_form(model: type[M], **values: Any) -> M:
    """Returns the model.

    Args:
        model: An input type of the API.
        values: The fields.

    Raises:
        InvalidInput: A value is not acceptable; the message names the field.
    """
    try:
        return model(**values)
    except ValidationError as error:
        problems = {
            ".".join(str(part) for part in item["loc"]): str(item["msg"]).removeprefix("Value error, ")
            for item in error.errors()
        }
        sentence = "; ".join(f"{name.replace('_', ' ')}: {message}" for name, message in problems.items())
        raise InvalidInput(f"Please correct: {sentence}.", fields=problems) from None


def check_repeated(password: str, repeated: str | None) -> None:
    """Checks that somebody typed a new password twice alike.

    Args:
        password: The password.
        repeated: The same again.

    Raises:
        InvalidInput: They differ.
    """
    if password != repeated:
        raise InvalidInput("The two passwords differ.")
