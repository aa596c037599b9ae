"""What takes the calls while telemetry is off."""

import subprocess
import sys
from collections import Counter

from aiohttp import web

from shared.runtime.trace import current_span
from shared.telemetry.tracing import NO_TRACING
from tests.unit.shared.telemetry.test_parents import PARENT, event

IMPORT_ALL = """
import sys
import services.experience_api.app, services.process_api.app, services.system_api.app, services.standalone.composed
print([name for name in sys.modules if name.partition(".")[0] in {"opentelemetry", "google", "requests"}])
"""


def test_no_span_is_made() -> None:
    with NO_TRACING.poll("orders") as poll:
        assert current_span() is None
        poll.found(1, 0)
    NO_TRACING.sent("t", [event(PARENT)], 0.1)
    NO_TRACING.processed("t", 0, "g", Counter(), 0.1)
    NO_TRACING.delivered("t", [event(PARENT)], 1, 0.1)
    assert not NO_TRACING.parents([event(PARENT)])
    assert not NO_TRACING.on
    app = web.Application()
    NO_TRACING.trace_requests(app)
    assert not app.middlewares


def test_the_services_import_nothing_of_opentelemetry() -> None:
    command = [sys.executable, "-c", IMPORT_ALL]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]"
