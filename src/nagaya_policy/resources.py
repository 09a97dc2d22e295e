"""Resource strings: parsing and writing the names by which ZenML asks about permissions.

From 0.80 on `[<project id>:]<type>[/<id>]`; up to 0.75.1 `<server id>@server:<type>[/<id>]`, without projects.
Source: `Resource.__str__` and `Resource.parse` in `zenml.zen_server.rbac.models` and `zenml_cloud_rbac` of those
releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from nagaya_policy.catalogue import is_project_scoped
from nagaya_policy.errors import ResourceError, ResourceScopeError

_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_UUID_ONLY: Final = re.compile(_UUID)
_RESOURCE: Final = re.compile(
    rf"(?:(?P<server>{_UUID})@server:|(?P<project>{_UUID}):)?(?P<type>[a-z][a-z0-9_]{{0,63}})(?:/(?P<id>{_UUID}))?"
)
_LONGEST: Final = 36 + len("@server:") + 64 + 1 + 36


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, or all resources of a type.

    A project-scoped type without a project means that type in every project of the tenant; ZenML never writes that,
    but releases up to 0.75.1 have no projects, and a caller may want to ask it.

    Args:
        type: ZenML's name of the type, known to the catalogue or not.
        id: The resource's UUID, lower case; `None` for the type as a whole.
        project: The UUID of the project that the resource belongs to.
        server: The UUID of the server in the form of 0.75.1 and older; such a resource has no project.
    """

    type: str
    id: str | None = None
    project: str | None = None
    server: str | None = None

    def __str__(self) -> str:
        return format_resource(self)

    @property
    def container(self) -> str | None:
        """The project that holds this resource; for a project, the project itself."""
        return self.id if self.type == "project" else self.project


def format_resource(resource: Resource) -> str:
    """Write a resource the way the ZenML release that it came from writes it; the inverse of `parse_resource`."""
    name = resource.type if resource.id is None else f"{resource.type}/{resource.id}"
    if resource.server is not None:
        return f"{resource.server}@server:{name}"
    return name if resource.project is None else f"{resource.project}:{name}"


@lru_cache(maxsize=4096)
def parse_resource(text: str) -> Resource:
    """Parse a resource string of any ZenML release.

    Ids are UUIDs in their hyphenated form and come back in lower case. A type that the catalogue does not know is
    accepted with and without a project.

    Args:
        text: `[<project id>:]<type>[/<id>]` or `<server id>@server:<type>[/<id>]`.

    Returns:
        The resource; `format_resource` gives the same text back (ids in lower case).

    Raises:
        ResourceError: The text has neither form.
        ResourceScopeError: A tenant-scoped type has a project in front of it, or a project-scoped one has none.
    """
    match = _RESOURCE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
        raise ResourceError(
            f"{shown!r} is not a resource: expected [<project id>:]<type>[/<id>] with UUIDs as ids and a type in "
            "lower case."
        )
    server, project, type_name, resource_id = (_lower(each) for each in match.group("server", "project", "type", "id"))
    assert type_name is not None
    scoped = is_project_scoped(type_name)
    if server is None and scoped is True and project is None:
        raise ResourceScopeError(
            f"{text!r} lacks a project: {type_name} resources are written <project id>:{type_name}."
        )
    if scoped is False and project is not None:
        raise ResourceScopeError(f"{text!r} names a project, but {type_name} resources belong to the whole tenant.")
    return Resource(type_name, resource_id, project, server)


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in hyphenated form, in either case."""
    return _UUID_ONLY.fullmatch(text) is not None


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
