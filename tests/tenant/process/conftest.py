"""Fixtures of the process tests: one template database, one zygote per session, and tenants by the dozen.

They need an engine's environment (ZenML installed); elsewhere nothing here is collected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

collect_ignore_glob = ["test_*.py"] if find_spec("zenml") is None else []

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if not collect_ignore_glob:
    sys.path.insert(0, str(Path(__file__).parent))
    from harness import Platform, Tenant, Zygote, launcher

FIRST_UID = 261_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the first test, which waits for the zygote's imports, time enough on a machine that is busy."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A directory that other users can traverse (pytest's own cannot be)."""
    directory = Path(tempfile.mkdtemp(prefix="nagaya-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(open_directory: Path) -> Path:
    out = open_directory / "template.db"
    subprocess.run([*launcher("nagaya_tenant.template"), str(out)], check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def platform() -> Platform:
    return Platform()


@pytest.fixture(scope="session")
def zygote(open_directory: Path, template: Path) -> Iterator[Zygote]:
    zygote = Zygote(open_directory, template)
    yield zygote
    zygote.close()


@pytest.fixture
def new_tenant(open_directory: Path, template: Path, platform: Platform) -> Iterator[Callable[..., Tenant]]:
    """Makes tenants; whatever still runs at the end of the test is killed."""
    made: list[Tenant] = []

    def make(**options: Any) -> Tenant:
        options.setdefault("uid", FIRST_UID + len(made) if os.getuid() == 0 else None)
        made.append(Tenant(root=open_directory, platform=platform, template=template, **options))
        return made[-1]

    yield make
    for tenant in made:
        tenant.close()


@pytest.fixture
def tenant(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> Iterator[Tenant]:
    """A running tenant."""
    tenant = new_tenant()
    line = tenant.start(zygote)
    assert line["ready"], (line, tenant.log())
    yield tenant
    if tenant.pid not in zygote.exits:
        tenant.stop(zygote)
