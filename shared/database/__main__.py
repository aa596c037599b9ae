"""Migrate a database: `python -m shared.database postgresql://user@host:port/database`.

The password comes from the environment variable PGPASSWORD, so that no process list shows it.
"""

import asyncio
import sys

from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.errors import TrelayError


def main(arguments: list[str]) -> str:
    """Migrate, and return the message for the operator."""
    if len(arguments) != 1:
        return __doc__ or ""
    options = DatabaseOptions(url=arguments[0])
    revision = asyncio.run(migrate(options))
    return f"{options.address} is at revision {revision}"


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]) + "\n")
    except (TrelayError, ValueError) as exc:
        sys.exit(str(exc))
