"""The command line `trelay`: `command` is the entry point, and each subcommand has a module of its own."""

from services.cli.command import main

__all__ = ["main"]
