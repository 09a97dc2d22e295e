"""From what a person types to what the API knows: names, `organization/tenant`, ids; with suggestions for typos."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from nagaya.cli.client import ApiClient
from nagaya.cli.errors import CliError, ExitCode, did_you_mean

Json = dict[str, Any]


def is_id(text: str) -> bool:
    """Whether `text` is a UUID, and so an id and no name."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def organization(api: ApiClient, name: str) -> Json:
    """The organization with this name or id.

    Raises:
        CliError: there is none that the caller may know of.
    """
    try:
        found: Json = api.get(f"/organizations/{segment(name)}")
    except CliError as error:
        if error.code is not ExitCode.NOT_FOUND:
            raise
        names = [item["name"] for item in api.pages("/organizations")]
        raise CliError(f"There is no organization {name}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND) from error
    return found


def organization_or_only(api: ApiClient, name: str | None) -> Json:
    """The named organization or, without a name, the only one that the caller has.

    Raises:
        CliError: no name was given and there are none or several.
    """
    if name:
        return organization(api, name)
    known: list[Json] = list(api.pages("/organizations"))
    if len(known) == 1:
        return known[0]
    if not known:
        raise CliError("There is no organization yet. Make one: nagaya org create NAME", ExitCode.NOT_FOUND)
    names = ", ".join(sorted(item["name"] for item in known))
    raise CliError(f"Say which organization with --organization: {names}.", ExitCode.USAGE)


def full_name(tenant: Json) -> str:
    """`organization/tenant`."""
    return f"{tenant['organization']['name']}/{tenant['name']}"


def tenant(api: ApiClient, name: str) -> Json:
    """The tenant with this id, `organization/name`, or name if only one organization of the caller has it.

    Raises:
        CliError: there is none, or there are several (the text lists them).
    """
    if is_id(name):
        by_id: Json = api.get(f"/tenants/{name}")
        return by_id
    first, slash, second = name.partition("/")
    if slash:
        home = organization(api, first)
        found = list(api.pages("/tenants", tenant_name=second, organization_id=home["id"]))
    else:
        found = list(api.pages("/tenants", tenant_name=name))
    if len(found) == 1:
        only: Json = found[0]
        return only
    if found:
        choices = ", ".join(sorted(full_name(item) for item in found))
        raise CliError(f"There are several tenants {name}: say which of {choices}.", ExitCode.USAGE)
    known = [item for item in api.pages("/tenants") if not slash or item["organization"]["name"] == first]
    names = [full_name(item) if slash else item["name"] for item in known]
    raise CliError(f"There is no tenant {name}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)


def member(api: ApiClient, home: Json, name: str) -> Json:
    """The member of an organization with this user name, e-mail address or id.

    Raises:
        CliError: there is none.
    """
    known = api.pages(f"/organizations/{home['id']}/members")
    return named(known, name, f"no member of {home['name']}", said="is")


def named(known: Iterable[Json], name: str, place: str, said: str = "is not") -> Json:
    """The one of several people who is called so.

    Args:
        known: People, as lists of members show them.
        name: User name, e-mail address or id, in any case.
        place: Where they are, for the sentence that says that nobody is found.
        said: The verb of that sentence.

    Raises:
        CliError: nobody is called so.
    """
    names = []
    for item in known:
        called = member_names(item)
        if name.lower() in (text.lower() for text in called):
            return item
        names += called
    raise CliError(f"{name} {said} {place}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)


def holder(api: ApiClient, home: Json, name: str) -> dict[str, str]:
    """Who is meant, as the query of the API names it: a member, or else an open invitation of an organization.

    Raises:
        CliError: there is neither.
    """
    try:
        found = member(api, home, name)
    except CliError as error:
        if error.code is not ExitCode.NOT_FOUND or "@" not in name:
            raise
        waiting = api.pages(f"/organizations/{home['id']}/invitations", status="pending")
        invited = next((item for item in waiting if item["email"].lower() == name.lower()), None)
        if invited is None:
            raise
        return {"invitation_id": str(invited["id"])}
    return {f"{found['kind']}_id": str(found["id"])}


def in_organization(api: ApiClient, name: str, noun: str) -> tuple[Json, str]:
    """The organization and the rest of what is written as `organization/name`.

    Raises:
        CliError: it is written in another way, or there is no such organization.
    """
    home, slash, own = name.partition("/")
    if not slash or not own:
        raise CliError(f"Write the {noun} as ORGANIZATION/NAME.", ExitCode.USAGE)
    return organization(api, home), own


def team(api: ApiClient, name: str) -> Json:
    """The team that is written as `organization/name` (or `organization/id`).

    Raises:
        CliError: it is written in another way, or there is none.
    """
    return team_of(api, *in_organization(api, name, "team"))


def team_of(api: ApiClient, home: Json, name: str) -> Json:
    """The team of an organization with this name or id.

    Raises:
        CliError: there is none.
    """
    known: list[Json] = list(api.pages(f"/organizations/{home['id']}/teams"))
    for item in known:
        if name.lower() in (item["name"].lower(), item["id"]):
            return item
    names = [str(item["name"]) for item in known]
    raise CliError(f"{home['name']} has no team {name}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)


def member_names(item: Json) -> list[str]:
    """What a member may be called."""
    return [str(item[key]) for key in ("email", "username", "name", "id") if item.get(key)]


def service_account(api: ApiClient, name: str) -> Json:
    """The service account that is written as `organization/name` (or `organization/id`), with its `organization_id`.

    Raises:
        CliError: it is written in another way, or there is none.
    """
    home, own = in_organization(api, name, "service account")
    accounts = list(api.pages(f"/organizations/{home['id']}/service_accounts"))
    for account in accounts:
        if own in (account["name"], account["id"]):
            return {**account, "organization_id": home["id"]}
    names = [str(account["name"]) for account in accounts]
    raise CliError(f"{home['name']} has no service account {own}.{did_you_mean(own, names)}", ExitCode.NOT_FOUND)


def user(api: ApiClient, name: str) -> Json:
    """The user with this user name, e-mail address or id; only superusers may ask.

    Raises:
        CliError: there is none.
    """
    known = list(api.pages("/users"))
    for item in known:
        if name.lower() in (str(item[key]).lower() for key in ("username", "email", "id")):
            found: Json = item
            return found
    names = [str(item[key]) for item in known for key in ("username", "email")]
    raise CliError(f"There is no user {name}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)
