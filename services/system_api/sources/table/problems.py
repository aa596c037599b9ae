"""What is wrong with the order values of a table, so that rows of it cannot be read."""

from services.system_api.sources.table.ledger import Ledger
from services.system_api.sources.table.time_scale import TimeScale

_AHEAD = 60_000_000
"""Microseconds by which a time may be ahead of the server's clock without being reported."""
_SECOND = 1_000_000


def of_keys(ledger: Ledger[int], following: int | None, limit: int, *, waits: bool) -> str | None:
    """Return what is wrong with keys; `following` is the next value of the sequence, None if there is none to ask.

    `limit` is how many rows are remembered above the horizon, `waits` whether open transactions hold it back.
    """
    if following is None:
        return None
    if ledger.position is not None and following < ledger.position.order:
        return (
            "the sequence of the key was set back below the rows that were read: rows with lower keys are not read;"
            " set the sequence above them, or give the source another name to start from the beginning"
        )
    if len(ledger.emitted) >= limit and not waits:
        ahead = sum(order >= following for order in ledger.emitted.values())
        if ahead >= limit // 2:
            return (
                f"{ahead} rows have keys that the sequence has not given yet (its next value is {following}), and no"
                " more can be remembered: set the sequence above the highest key"
            )
    return None


def of_assigned_keys(following: int, unread: int | None) -> str | None:
    """Return what is wrong with keys that the database assigns; `following` is the next one.

    `unread` is the lowest key of which a row would still be read, None if it is any.
    """
    if unread is None or following >= unread:
        return None
    return (
        f"the next key of the table is {following}, and rows up to key {unread - 1} were read: rows with lower keys"
        " are not read; let the table continue above them, or give the source another name to start from the beginning"
    )


def of_times(ledger: Ledger[int], now: int | None, limit: int, scale: TimeScale) -> str | None:
    """Return what is wrong with times; `now` is the server's clock in microseconds, as the times show it."""
    if now is None:
        return None
    if len(ledger.emitted) >= limit:
        ahead = sum(scale.micros(order) > now + _AHEAD for order in ledger.emitted.values())
        if ahead >= limit // 2:
            return (
                f"{ahead} rows have times ahead of the server's clock, and no more can be remembered:"
                " further ones are read when their time has come; check `time_zone`"
            )
    if ledger.position is not None and now < (reached := scale.micros(ledger.position.order)):
        return (
            f"the server's clock is {(reached - now) / _SECOND:.0f} s behind the rows that were read:"
            " rows written before it has caught up are not read"
        )
    return None
