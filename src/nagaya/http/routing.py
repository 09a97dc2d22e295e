"""Declares routes now and makes them once, when the application is complete.

FastAPI examines every function when it is declared on a router, and again for each application that includes the
router, there only at its first request. With some 200 routes each of the two takes half a second of a start; here
neither a router nor an inclusion examines anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Declared:
    """One route: its path with all prefixes, and the arguments of `FastAPI.router.add_api_route`."""

    path: str
    endpoint: Callable[..., Any]
    options: Mapping[str, Any]


class Routes:
    """Routes in the order of their declaration, which is the order in which they are tried.

    Args:
        prefix: Put in front of each path.
        tags: Tags of each route, before its own.
        route_class: Class of the routes.
        include_in_schema: Whether the OpenAPI description shows them.
        responses: Further answers of each route, which its own replace.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        tags: Sequence[str] = (),
        route_class: type[APIRoute] = APIRoute,
        include_in_schema: bool = True,
        responses: Mapping[int | str, Any] | None = None,
    ) -> None:
        self._prefix = prefix
        self._tags = list(tags)
        self._route_class = route_class
        self._include_in_schema = include_in_schema
        self._responses = dict(responses or {})
        self._declared: list[_Declared] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Declares a route.

        Args:
            path: Its path below the prefix.
            endpoint: Its function.
            options: As of FastAPI's `add_api_route`.
        """
        self._declared.append(
            self._within(_Declared(path, endpoint, {"route_class_override": self._route_class, **options}))
        )

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares the decorated function for GET."""
        return self._decorator("GET", path, options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares the decorated function for POST."""
        return self._decorator("POST", path, options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares the decorated function for PUT."""
        return self._decorator("PUT", path, options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares the decorated function for PATCH."""
        return self._decorator("PATCH", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Declares the decorated function for DELETE."""
        return self._decorator("DELETE", path, options)

    def include(self, routes: "Routes") -> None:
        """Declares all that was declared elsewhere until now, below this prefix and with what these have in common."""
        self._declared += map(self._within, routes._declared)  # noqa: SLF001 - of the same class.

    def add_to(self, app: FastAPI) -> None:
        """Puts the routes into an application: the same objects into each one of this process, for they hold no state.

        What is declared afterwards is not in it.
        """
        app.router.routes.extend(self._made)

    @cached_property
    def _made(self) -> list[BaseRoute]:
        router = APIRouter(generate_unique_id_function=attrgetter("name"))
        for each in self._declared:
            router.add_api_route(each.path, each.endpoint, **each.options)
        return router.routes

    def _decorator(self, method: str, path: str, options: Mapping[str, Any]) -> Callable[[Endpoint], Endpoint]:
        def declare(endpoint: Endpoint) -> Endpoint:
            self.add_api_route(path, endpoint, **{"methods": [method], **options})
            return endpoint

        return declare

    def _within(self, route: _Declared) -> _Declared:
        options = {
            **route.options,
            "tags": [*self._tags, *(route.options.get("tags") or ())],
            "responses": {**self._responses, **(route.options.get("responses") or {})},
            "include_in_schema": self._include_in_schema and route.options.get("include_in_schema", True),
        }
        return _Declared(self._prefix + route.path, route.endpoint, options)
