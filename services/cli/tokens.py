"""Tokens as a command-line option."""

import click


def sendable(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return a token that can be sent in a header.

    Raises:
        BadParameter: it holds a control character, such as the line end of the file that it was read from. The text
            holds nothing of it.
    """
    if value is not None and any(not character.isprintable() for character in value):
        raise click.BadParameter("found a control character, such as the line end of a file; expected a token alone")
    return value
