"""What is put right in ZenML 0.94.6, in its process and before its first token is made.

Its tokens do not say when they were issued, so nobody could tell those from before a revocation from those after it.
Later releases write the claim themselves (in 0.98.0 `zenml.zen_server.jwt.JWTToken.encode` does).
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def apply() -> None:
    """Makes every token carry the claim `iat`; done once per process, later calls change nothing."""
    from zenml.zen_server.jwt import JWTToken  # noqa: PLC0415 - only in an engine

    if not hasattr(JWTToken.encode, "__wrapped__"):
        JWTToken.encode = _dated(JWTToken.encode)


def _dated(encode: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(encode)
    def with_time(token: Any, *arguments: Any, **options: Any) -> str:
        dated = token.model_copy(update={"claims": {**token.claims, "iat": time.time()}})
        return encode(dated, *arguments, **options)

    return with_time
