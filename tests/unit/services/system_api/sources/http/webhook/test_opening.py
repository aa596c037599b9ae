"""Expressions are tried before the source is opened."""

import random

import pytest

from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from services.system_api.sources.http.webhook.opening import WebhookSourceKind
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK


async def test_an_expression_that_does_not_terminate_is_refused() -> None:
    options = WebhookSourceKind.model_validate(
        {
            "kind": "webhook",
            "type": "t",
            "verify": {"kind": "github", "secrets": ["s"]},
            "subject": "($f := function($n) { $f($n + 1) }; $f(0))",
        }
    )
    opener = options.opener("hooks", SYSTEM_CLOCK, random.Random(1), MemoryInbox(SYSTEM_CLOCK))
    with pytest.raises(SettingsError, match=r"^system\.sources\.hooks\.subject: "):
        async with opener({}):
            pass
