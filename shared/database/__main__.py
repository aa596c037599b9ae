"""Migrate a database by hand: `python -m shared.database postgresql://user@host:port/database`.

The password is PGPASSWORD, so that it stands in no process list.
"""

import asyncio
import sys

from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.errors import TrelayError


def main(arguments: list[str]) -> str:
    """Return what to tell the operator."""
    if len(arguments) != 1:
        return __doc__ or ""
    options = DatabaseOptions(url=arguments[0])
    revision = asyncio.run(migrate(options))
    return f"{options.place} is at revision {revision}"


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]) + "\n")
    except (TrelayError, ValueError) as exc:
        sys.exit(str(exc))
