"""Patterns of host names: which are accepted, and that every accepted one can be parsed back uniquely."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nagaya.hosts import SLUG, HostPattern, HostPatternError
from nagaya.http import schemas

URL = "https://zenml.example.com:8443"
PATTERN = "{tenant}--{organization}.zenml.example.com"
PATTERNS = (
    PATTERN,
    "{organization}--{tenant}.zenml.example.com",
    "{tenant}.{organization}.zenml.example.com",
    "t-{tenant}--{organization}-x.zenml.example.com",
    "{tenant}-x--{organization}.zenml.example.com",
    "{tenant}---{organization}.zenml.example.com",
    "a.{organization}.b-{tenant}.zenml.example.com",
)
slugs = st.from_regex(re.compile(rf"\A{SLUG}\Z"), fullmatch=True).filter(lambda text: len(text) <= 30)


def test_the_slug_is_the_one_that_names_are_checked_with() -> None:
    assert f"^{SLUG}$" == schemas.SLUG


@pytest.mark.parametrize("text", PATTERNS)
@given(tenant=slugs, organization=slugs)
def test_what_a_pattern_makes_it_parses_back(text: str, tenant: str, organization: str) -> None:
    pattern = HostPattern.parse(text, URL)
    host = pattern.host(organization, tenant)
    if host is None:
        assert len(max(re.split(r"\.", text.format(tenant=tenant, organization=organization)), key=len)) > 63 or any(
            label.startswith("xn--") for label in text.format(tenant=tenant, organization=organization).split(".")
        )
        return
    assert pattern.split(host) == (organization, tenant)
    assert pattern.split_url(f"{pattern.url(organization, tenant)}/") == (organization, tenant)


@given(first=st.tuples(slugs, slugs), second=st.tuples(slugs, slugs))
def test_two_tenants_never_share_a_host(first: tuple[str, str], second: tuple[str, str]) -> None:
    for text in PATTERNS:
        pattern = HostPattern.parse(text, URL)
        one, other = pattern.host(*first), pattern.host(*second)
        assert first == second or one is None or one != other


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "{tenant} must occur exactly once"),
        ("{tenant}.zenml.example.com", "{organization} must occur exactly once"),
        ("{tenant}--{tenant}--{organization}.zenml.example.com", "{tenant} must occur exactly once"),
        ("{tenant}--{organization}--{stage}.zenml.example.com", "{stage} is no field"),
        ("{tenant}-{organization}.zenml.example.com", "cannot be told apart"),
        ("{tenant}{organization}.zenml.example.com", "cannot be told apart"),
        ("{tenant}-x-{organization}.zenml.example.com", "cannot be told apart"),
        ("{tenant}--{organization}", "must end in a domain"),
        ("{tenant}--{organization}.com", "must end in a domain"),
        ("{tenant}--{organization}.zenml.example.com.", "must end in a domain"),
        ("zenml.example.{tenant}.{organization}", "must end in a domain"),
        ("-{tenant}--{organization}.zenml.example.com", "must end in a domain"),
        ("{tenant}--{organization}..example.com", "must end in a domain"),
        ("{tenant}--{organization}.127.0.0.1", "not in a number"),
        ("https://{tenant}--{organization}.zenml.example.com", "without scheme"),
        ("{tenant}--{organization}.zenml.example.com:8443", "without scheme, port"),
        ("{tenant}--{organization}.zenml.example.com/x", "without scheme"),
        ("{tenant}--{organization}.zen_ml.example.com", "letters, digits, hyphens"),
        ("{tenant}--{organization}.zënml.example.com", "letters, digits, hyphens"),
        ("{tenant}.{organization}.com", "must end in a domain"),
        ("{tenant}.{organization}.example.com", "covers the host of the public URL"),
    ],
)
def test_patterns_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(HostPatternError, match=re.escape(says)):
        HostPattern.parse(text, "https://ab.cd.example.com")


@pytest.mark.parametrize(
    "host",
    [
        "zenml.example.com", "one.zenml.example.com", "a--acme.zenml.example.com", "one--acme.zenml.example.com.",
        "one--acme--x.zenml.example.com", "one--acme.zenml.example.com.evil.test", "x.one--acme.zenml.example.com",
        "one_--acme.zenml.example.com", "xn--acme.zenml.example.com", "1ne--acme.zenml.example.com", "",
        f"one--{'a' * 31}.zenml.example.com", "one--acme.zenmlxexample.com", "one--acme.zenml.example.com\n",
    ],
)  # fmt: skip
def test_hosts_of_nobody(host: str) -> None:
    assert HostPattern.parse(PATTERN, URL).split(host) is None


def test_a_name_that_no_host_can_have_stays_without_one() -> None:
    pattern = HostPattern.parse(PATTERN, URL)
    assert pattern.host("acme", "xn") is None
    assert pattern.url("acme", "xn") is None
    assert pattern.host("acme", "~deleted") is None
    assert pattern.host("a" * 30, "b" * 30) == f"{'b' * 30}--{'a' * 30}.zenml.example.com"
    assert HostPattern.parse(f"t{PATTERN}", URL).host("a" * 30, "b" * 31) is None
    assert HostPattern.parse(f"tt{PATTERN}", URL).host("a" * 30, "b" * 30) is None


def test_the_port_is_that_of_the_public_url() -> None:
    pattern = HostPattern.parse(PATTERN.replace("example", "EXAMPLE"), URL)
    assert pattern.url("acme", "one") == "https://one--acme.zenml.example.com:8443"
    assert pattern.split_authority("one--acme.zenml.example.com:8443") == ("acme", "one")
    assert pattern.split_authority("one--acme.zenml.example.com") is None
    assert pattern.split_authority("one--acme.zenml.example.com:443") is None
    default = HostPattern.parse(PATTERN, "https://zenml.example.com")
    assert default.split_authority("one--acme.zenml.example.com:443") == ("acme", "one")
    assert default.split_authority("one--acme.zenml.example.com") == ("acme", "one")
    assert default.split_authority("one--acme.zenml.example.com:80") is None
    assert default.split_url("http://one--acme.zenml.example.com") is None
    assert default.split_url("HTTPS://ONE--acme.zenml.example.com/") == ("acme", "one")
