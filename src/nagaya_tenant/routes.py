"""What the guard knows about every route of an engine, and the matching of requests to it.

Matching uses the same compiled expressions, in the same order, as the application's own router, so the guard and the
application can never see two different routes in one request. A route of the application that the table does not have
is refused: nothing becomes reachable because somebody forgot it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import compile_path

from nagaya_tenant import version as versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nagaya_tenant.guard_checks import Inquiry

API = "/api/v1"

log = logging.getLogger(__name__)


class Access(enum.Enum):
    """Who lets a request through."""

    PUBLIC = "public"
    """No credentials needed; what the handler gives is public, or it asks for another proof itself."""
    ZENML = "checked by ZenML"
    """A member's token is needed; ZenML's handler checks permissions with our RBAC class."""
    CHECKED = "checked by the guard"
    """A member's token is needed; ZenML's handler checks nothing or too little, so the guard checks first."""
    LOCAL = "answered by the guard"
    """The guard answers itself; the application is never asked."""
    REFUSED = "refused"
    """Nobody may."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route.

    Args:
        method: HTTP method.
        path: Path template as the application declares it.
        access: Who lets it through.
        run: Whether tokens of runs may use it.
        checks: What the guard checks; each raises a `Refusal`.
        row: Table and path parameter of the row that a change is about: rows of the platform are never changed.
        body: Whether a check reads the body.
        audit: Whether a request is recorded; state changes are, unless there is a reason not to.
        reason: Why it is refused or public, or what ZenML leaves out.
    """

    method: str
    path: str
    access: Access
    run: bool = False
    checks: tuple[Callable[[Inquiry], None], ...] = ()
    row: tuple[str, str] | None = None
    body: bool = False
    audit: bool = False
    reason: str = ""


class Match(NamedTuple):
    """A route and the path parameters of one request."""

    route: Route
    params: Mapping[str, str]


def routes_of(app: Any) -> Iterator[tuple[str, str]]:
    """All routes of an application as `(method, path template)`, in the order in which its router tries them."""
    routing = importlib.import_module("fastapi.routing")
    # Since FastAPI 0.13x included routers are nested; older ones are a flat list.
    flatten = getattr(routing, "iter_route_contexts", iter)
    for route in flatten(app.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            yield method, route.path


def table_for(version: str) -> dict[tuple[str, str], Route]:
    """The table of a ZenML version.

    Args:
        version: For instance `0.98.0`.

    Raises:
        LookupError: There is none; a tenant of that version must not start.
    """
    if not versions.has_part(version, "routes"):
        raise LookupError(f"This release of Nagaya has no route table for ZenML {version}.")
    module = versions.part(version, "routes")
    return {(route.method, route.path): route for route in module.ROUTES}


@functools.cache
def router_of(app: Any) -> Router:
    """The router of an application, made once per process: routes are the same for every tenant of an engine.

    Args:
        app: ZenML's application.

    Raises:
        LookupError: There is no route table for the installed version of ZenML.
    """
    return Router(routes_of(app), table_for(versions.installed()))


class Router:
    """Finds the route of a request.

    Args:
        declared: Routes of the application, in its order.
        table: What the guard knows about them.
    """

    def __init__(self, declared: Iterable[tuple[str, str]], table: Mapping[tuple[str, str], Route]) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        self.missing: list[tuple[str, str]] = []
        for method, path in declared:
            route = table.get((method, path))
            if route is None:
                self.missing.append((method, path))
                log.error("The route table does not know %s %s; it is refused.", method, path)
                route = Route(method=method, path=path, access=Access.REFUSED, reason="This release does not know it.")
            if "{" not in path:
                self._fixed.setdefault((method, path), route)
            self._patterns.setdefault(method, []).append((compile_path(path)[0], route))
        self._first_pattern = {
            key: next(at for at, (_, each) in enumerate(self._patterns[key[0]]) if each is route)
            for key, route in self._fixed.items()
        }

    def match(self, method: str, path: str) -> Match | None:
        """The route that the application will choose, `None` if it has none for this method and path."""
        patterns = self._patterns.get(method, [])
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            # A parametrized route that was declared earlier wins, as it does in the application.
            patterns = patterns[: self._first_pattern[method, path]]
        for pattern, route in patterns:
            if (found := pattern.match(path)) is not None:
                return Match(route, found.groupdict())
        return None if fixed is None else Match(fixed, {})
