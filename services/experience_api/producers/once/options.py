"""Settings of idempotency keys."""

from pydantic import Field

from shared.settings import Options


class OnceOptions(Options):
    """How a repeated push is recognised."""

    window_hours: float = Field(default=24.0, ge=1, le=24 * 31)
    """Hours for which a key is kept: a repetition after that is published again."""

    keys_limit: int = Field(default=1_000_000, ge=1)
    """Keys that may be kept, some 200 bytes each in the database. Beyond it, pushes with a key are refused as busy, and
    no key is forgotten before its time. They are counted once a minute."""

    by_event: bool = False
    """Whether each event that is pushed is published once by its `source` and `id`, without a key in the request."""
