"""Routes are examined once, when the application is made, and keep what their groups give them."""

from typing import Annotated

import pytest
from fastapi import FastAPI, Path
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from nagaya.app import create_app
from nagaya.errors import Conflict, Forbidden, responses
from nagaya.http.routing import Routes
from tests.api.world import World


class Marked(APIRoute):
    """A class of routes that can be told from FastAPI's own."""


def inner(word: str = "nothing") -> dict[str, str]:
    return {"inner": word}


def test_prefixes_tags_answers_and_classes_add_up() -> None:
    outer = Routes("/api", tags=["all"], responses=responses(Forbidden))
    group = Routes("/things", tags=["things"], route_class=Marked, responses=responses(Conflict))
    group.get("/one", tags=["one"], status_code=202)(inner)
    outer.include(group)
    app = FastAPI()
    outer.add_to(app)
    (made,) = (route for route in app.routes if isinstance(route, APIRoute))
    assert isinstance(made, Marked)
    assert (made.path, made.methods, made.tags) == ("/api/things/one", {"GET"}, ["all", "things", "one"])
    assert set(made.responses) == {403, 409}
    answer = TestClient(app).get("/api/things/one", params={"word": "x"})
    assert (answer.status_code, answer.json()) == (202, {"inner": "x"})


def test_methods_and_order_are_those_of_the_declaration() -> None:
    routes, hidden = Routes(), Routes(include_in_schema=False)
    for number, declare in enumerate((routes.post, routes.put, routes.patch, routes.delete)):
        declare("/x", name=f"inner {number}")(inner)
    hidden.get("/x")(inner)
    routes.include(hidden)
    app = FastAPI()
    routes.add_to(app)
    made = [route for route in app.routes if isinstance(route, APIRoute)]
    assert [route.methods for route in made] == [{"POST"}, {"PUT"}, {"PATCH"}, {"DELETE"}, {"GET"}]
    assert "get" not in app.openapi()["paths"]["/x"]


def test_nothing_is_examined_before_the_application_is_made() -> None:
    def impossible(value: Annotated[str, Path()] = "a default, which no part of a path has") -> None:
        """Has a parameter that FastAPI refuses."""

    routes = Routes()
    routes.get("/things/{value}")(impossible)
    with pytest.raises(AssertionError):
        routes.add_to(FastAPI())


def test_the_api_makes_every_route_at_its_start(world: World) -> None:
    made = create_app(world.state).routes
    assert sum(isinstance(route, APIRoute) for route in made) > 150
    # FastAPI would make what is behind an included router at the first request, while somebody waits for the answer.
    assert not [route for route in made if "Included" in type(route).__name__]
