"""`trelay` on the command line.

`command` is what is typed, one module a subcommand; each is a thin shell around what the services offer themselves.
"""

from services.cli.command import main

__all__ = ["main"]
