"""Resource strings of all ZenML releases: parsing, writing, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nagaya_policy import (
    PROJECT_SCOPED_TYPES,
    TENANT_SCOPED_TYPES,
    Resource,
    ResourceError,
    ResourceScopeError,
    format_resource,
    parse_resource,
)

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROJECT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

uuids = st.uuids().map(str)
optional_uuids = st.one_of(st.none(), uuids)
scoped = st.sampled_from(sorted(PROJECT_SCOPED_TYPES))
unscoped = st.sampled_from(sorted(TENANT_SCOPED_TYPES))
valid = st.one_of(
    st.builds(Resource, scoped, optional_uuids, uuids),
    st.builds(Resource, unscoped, optional_uuids),
    st.builds(Resource, st.from_regex(r"x_[a-z0-9_]{0,20}", fullmatch=True), optional_uuids, optional_uuids),
    st.builds(Resource, st.one_of(scoped, unscoped), optional_uuids, st.none(), uuids),
)


@given(valid)
def test_what_is_written_is_read_back(resource: Resource) -> None:
    assert parse_resource(format_resource(resource)) == resource
    assert parse_resource(str(resource)) == resource


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        ("stack", Resource("stack")),
        (f"stack/{ID}", Resource("stack", ID)),
        (f"STACK/{ID}".lower(), Resource("stack", ID)),
        (f"stack/{ID.upper()}", Resource("stack", ID)),
        (f"{PROJECT}:pipeline", Resource("pipeline", None, PROJECT)),
        (f"{PROJECT.upper()}:pipeline_run/{ID}", Resource("pipeline_run", ID, PROJECT)),
        (f"{PROJECT}@server:pipeline/{ID}", Resource("pipeline", ID, None, PROJECT)),
        ("hologram", Resource("hologram")),
        (f"{PROJECT}:hologram", Resource("hologram", None, PROJECT)),
    ],
)
def test_the_forms_that_zenml_writes(text: str, resource: Resource) -> None:
    assert parse_resource(text) == resource


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":",
        "Stack",
        "stack/",
        f"stack/{ID}/",
        f"stack/{ID}\n",
        f"/{ID}",
        f"stack/{ID.replace('-', '')}",
        "stack/default",
        "default:pipeline",
        f"{PROJECT}:",
        f"{PROJECT}@client:stack",
        f"{PROJECT}@server:{PROJECT}:pipeline",
        f"{PROJECT}:{PROJECT}:pipeline",
        "stack*",
        "a" * 65,
        "9stack",
        "stack/" + "٠" * 36,
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ResourceError, match="expected"):
        parse_resource(text)


def test_a_long_text_is_cut_in_the_message() -> None:
    with pytest.raises(ResourceError) as caught:
        parse_resource("x" * 10_000)
    assert len(str(caught.value)) < 400


def test_projects_stand_exactly_where_they_belong() -> None:
    with pytest.raises(ResourceScopeError, match="belong to the whole tenant"):
        parse_resource(f"{PROJECT}:stack")
    with pytest.raises(ResourceScopeError, match="written <project id>:pipeline"):
        parse_resource("pipeline")


def test_a_project_is_its_own_container() -> None:
    assert parse_resource(f"project/{PROJECT}").container == PROJECT
    assert parse_resource(f"{PROJECT}:model/{ID}").container == PROJECT
    assert parse_resource(f"stack/{ID}").container is None


@given(st.text())
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    try:
        resource = parse_resource(text)
    except ResourceError:
        return
    assert format_resource(resource) == text.lower()
