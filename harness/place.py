"""A directory for a platform outside of pytest's, which every new pytest run on the machine closes to other users."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_directory(purpose: str) -> Iterator[Path]:
    """A temporary directory that the users of services and tenants can enter.

    Args:
        purpose: A word for its name.
    """
    with tempfile.TemporaryDirectory(prefix=f"nagaya-{purpose}-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
