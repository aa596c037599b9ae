"""Makes records for these tests."""

from services.system_api.sources.http.instants import instant_of
from services.system_api.sources.http.polling.records import Record


def record(identity: str, at: int | None = None, version: str = "v", subject: str | None = None) -> Record:
    """A record; `at` is in seconds since 1970."""
    time = None if at is None else instant_of(str(at).encode())
    return Record(identity, subject or identity, time, version, b"{}")
