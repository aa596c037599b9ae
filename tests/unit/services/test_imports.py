"""What the start of a service imports: what takes long is imported when it is needed."""

import subprocess
import sys

import pytest

SLOW = {"alembic", "mako", "pygments", "aiosmtplib", "apprise", "pyarrow", "opentelemetry", "aiokafka", "openpyxl"}
"""Packages that only some settings, or a database that is not up to date, need."""
WITHOUT_SQL = {"sqlalchemy", "asyncmy", "cryptography", "jwt"}
"""Packages that the experience layer alone needs at its start."""


def imported(module: str) -> set[str]:
    """Return the packages that the import of a module leads to, in a process of its own."""
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("service", "absent"),
    [
        ("system_api", SLOW | WITHOUT_SQL),
        ("process_api", SLOW | WITHOUT_SQL),
        ("experience_api", SLOW),
    ],
)
def test_the_start_of_a_service_imports_nothing_that_takes_long(service: str, absent: set[str]) -> None:
    found = imported(f"services.{service}.__main__")
    assert "asyncpg" in found
    assert not found & absent
