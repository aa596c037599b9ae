"""Lists of channels on the command line."""

import click


def patterns_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Take a list of patterns of channels apart; none without the option.

    Raises:
        BadParameter: the option is given and names no channel, as with a variable that is not set.
    """
    patterns = tuple(pattern.strip() for pattern in (value or "").split(",") if pattern.strip())
    if value is not None and not patterns:
        raise click.BadParameter("names no channel")
    return patterns
