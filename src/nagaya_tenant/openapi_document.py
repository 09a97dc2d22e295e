"""The tenant's OpenAPI document as bytes: built once (5.5 s of work), then only its URL prefix is filled in.

It is the same for all tenants of an engine, so `python -m nagaya_tenant.openapi_document OUT` builds it when the engine
is installed, and whoever needs it reads that file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Neither can occur in a document otherwise; both are replaced in `render`.
_SERVER = "@nagaya-server@"
_PREFIX = "@nagaya-prefix@"

_BEARER = "bearer"
INSTALLED = Path(sys.prefix) / "nagaya" / "openapi.json"
"""What the installation of this engine built."""

_lock = threading.Lock()
_document: bytes | None = None


def prebuilt() -> bytes | None:
    """Returns the document with placeholders if it was already built (always so in a fork), else None."""
    return _document


def render(prefix: str) -> bytes:
    """Returns the document for a tenant below `prefix`, building it first if that was not done.

    Building blocks for seconds: on an event loop use `document` instead.

    Args:
        prefix: URL prefix without trailing slash, or empty.
    """
    template = build()
    escaped = json.dumps(prefix)[1:-1].encode()
    return template.replace(_SERVER.encode(), escaped or b"/").replace(_PREFIX.encode(), escaped)


async def document(prefix: str) -> bytes:
    """Returns `render(prefix)`; the first use in a plainly started process builds in a thread."""
    if _document is None:
        return await asyncio.to_thread(render, prefix)
    return render(prefix)


def build() -> bytes:
    """Reads or builds the document with placeholders, once, and returns it."""
    global _document  # noqa: PLW0603 - one per process, like the application that it describes
    with _lock:
        if _document is None:
            _document = _installed() or _build()
        return _document


def _installed() -> bytes | None:
    """Returns what was built at the installation; None if it is missing or not whole."""
    try:
        stored = INSTALLED.read_bytes()
    except OSError:
        return None
    whole = _SERVER.encode() in stored and stored.endswith(b"}")
    return stored if whole else None


def _build() -> bytes:
    from zenml.zen_server.zen_server_api import app  # noqa: PLC0415 - seconds of import, only in an engine

    described: dict[str, Any] = dict(app.openapi())
    # The application keeps the dictionary, some ten megabytes of small objects, for a route that the guard answers.
    app.openapi_schema = None
    described["servers"] = [{"url": _SERVER}]
    described["paths"] = {path: _with_examples(item) for path, item in described.get("paths", {}).items()}
    components = dict(described.get("components", {}))
    components["securitySchemes"] = {
        name: _with_prefix(scheme) for name, scheme in components.get("securitySchemes", {}).items()
    } | {_BEARER: {"type": "http", "scheme": "bearer", "description": "A token of this tenant."}}
    described["components"] = components
    return json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()


def _with_examples(item: dict[str, Any]) -> dict[str, Any]:
    """Returns a path's operations with the project that every tenant is born with as example, which forms start from,
    and with the bearer token that they accept.

    Lists of what belongs to a project need one in cloud mode, and a form that fails when it is sent as offered helps
    nobody.
    """
    for operation in item.values():
        if operation.get("security"):
            # ZenML describes only the login by password, which tenants refuse; a form must be able to take a token.
            operation["security"] = [*operation["security"], {_BEARER: []}]
        for parameter in operation.get("parameters", []):
            if (parameter.get("in"), parameter.get("name")) == ("query", "project"):
                parameter["example"] = "default"
    return item


def _with_prefix(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {
        key: _PREFIX + value if key == "tokenUrl" and isinstance(value, str) else _with_prefix(value)
        for key, value in node.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: builds the document into a file; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m nagaya_tenant.openapi_document", description=__doc__.splitlines()[0]
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args(arguments).out

    from nagaya_tenant import hooks, profile  # noqa: PLC0415 - a tenant has both already, and needs no command line

    profile.use_placeholders(os.environ)
    hooks.import_engine()
    # In one step: an engine that is renewed shares its files with the one in use.
    made = out.with_name(f".{out.name}.new")
    made.write_bytes(_build())
    made.chmod(0o644)
    made.rename(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
