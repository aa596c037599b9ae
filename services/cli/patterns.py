"""Channel patterns as a command-line option."""

import click


def patterns_of(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a comma-separated list of channel patterns; without the option it is empty.

    Raises:
        BadParameter: the option is given without a pattern, for example by an unset variable.
    """
    patterns = tuple(pattern.strip() for pattern in (value or "").split(",") if pattern.strip())
    if value is not None and not patterns:
        raise click.BadParameter("names no channel")
    return patterns
