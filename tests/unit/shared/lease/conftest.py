"""The tests run on a loop whose time skips ahead, so a busy machine does not expire their leases."""

import asyncio
from collections.abc import Callable, Mapping

from tests.unit.skipping_loop import SkippingLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"skipping": SkippingLoop}
