"""Leases are about seconds: the tests have seconds of their own, which no busy machine lengthens."""

import asyncio
from collections.abc import Callable, Mapping

from tests.unit.skipping_loop import SkippingLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"skipping": SkippingLoop}
