"""Completes the OpenAPI description with what any request that has a body can be answered with."""

from typing import Any

from fastapi import FastAPI

from nagaya.errors import BadRequest, ErrorBody, PayloadTooLarge, responses

BODY_ERRORS = (BadRequest, PayloadTooLarge)


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` declare, for each operation that takes a body, that it may be malformed or too large.

    Args:
        app: The application.
    """
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            # FastAPI keeps what it returns, so this completes the document once.
            for methods in plain()["paths"].values():
                for operation in methods.values():
                    if "requestBody" in operation:
                        _declare(operation["responses"])
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]  # How FastAPI's documentation extends the description.


def _declare(declared: dict[str, Any]) -> None:
    reference = {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}
    for status, entry in responses(*BODY_ERRORS).items():
        known = declared.setdefault(str(status), {"description": entry["description"]})
        content = known.setdefault("content", {}).setdefault("application/json", {})
        schema = content.get("schema", reference)
        # Some endpoints answer in the shape of another standard, unless the body could not even be read.
        content["schema"] = schema if schema == reference else {"anyOf": [schema, reference]}
