"""Times in the queries of an API. No I/O."""

from typing import assert_never

from services.system_api.sources.http.instants import datetime_of
from services.system_api.sources.http.polling.options import TimeFormat


def written(microseconds: int, form: TimeFormat) -> str:
    """Write a time, rounded down, as an API wants it."""
    match form:
        case "unix":
            return str(microseconds // 1_000_000)
        case "unix_ms":
            return str(microseconds // 1000)
        case "date":
            return f"{datetime_of(microseconds):%Y-%m-%d}"
        case "rfc3339":
            # Without a fraction: not every API reads one, and to begin a little earlier loses nothing.
            return f"{datetime_of(microseconds):%Y-%m-%dT%H:%M:%S}Z"
        case _:
            assert_never(form)
