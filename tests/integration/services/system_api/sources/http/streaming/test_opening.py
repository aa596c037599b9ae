"""A checkpoint of another kind, and expressions that do not terminate."""

from typing import Any

import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading


@pytest.mark.parametrize(
    ("checkpoint", "settings", "error"),
    [
        ({"": b"{}"}, {}, r"^system\.sources\.s: the checkpoint is not that of a stream"),
        ({}, {"subject": "($f := function($n) { $f($n + 1) }; $f(0))"}, r"^system\.sources\.s\.subject: "),
    ],
)
async def test_what_cannot_be_opened(checkpoint: dict[str, bytes], settings: dict[str, Any], error: str) -> None:
    reading = StreamReading("sse", "http://127.0.0.1:1/", **settings)
    reading.checkpoint = checkpoint
    with pytest.raises(SettingsError, match=error):
        async with reading.opened():
            pass
