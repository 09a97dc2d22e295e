"""Fixtures of the end-to-end tests: one real platform for the session, stock clients, a person with a browser.

`platform`     a running platform with organization `acme` and tenant `staging`; tests must leave it healthy
`admin`        token of its administrator
`person`       the administrator with a browser without scripts, signed in
`client`       a stock ZenML 0.98.0 client with an empty home
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.approval import Person
from harness.client import CLIENTS, StockClient
from harness.place import open_directory
from harness.platform import Platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything in this directory, and gives real processes more time than unit tests get."""
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One platform for the whole session."""
    settings = {"NAGAYA_DEVICE_INTERVAL": "1"}
    with open_directory("e2e") as directory, Platform(directory / "data", settings=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def connections(request: pytest.FixtureRequest) -> Iterator[None]:
    """Closes what a test has left open on the session's platform, if it uses that."""
    yield
    if "platform" in request.fixturenames:
        request.getfixturevalue("platform").close_callers()


@pytest.fixture
def admin(platform: Platform) -> str:
    """A token of the administrator."""
    return platform.sign_in()


@pytest.fixture
def person(platform: Platform) -> Iterator[Person]:
    """The administrator, signed in."""
    someone = Person(platform.url)
    someone.sign_in()
    yield someone
    someone.close()


@pytest.fixture
def client(tmp_path: Path) -> StockClient:
    """A stock client that knows nothing yet."""
    if not (CLIENTS / "0.98.0").exists():
        pytest.skip(f"no stock client at {CLIENTS / '0.98.0'}; ./run test installs it")
    return StockClient(tmp_path / "home")
