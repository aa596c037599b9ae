import asyncio
from collections.abc import Callable, Mapping

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Run a module on the loops it names in `LOOPS`: what writes to descriptors itself must suit each kind."""
    found: Mapping[str, LoopFactory] = getattr(
        getattr(item, "module", None), "LOOPS", {"asyncio": asyncio.new_event_loop}
    )
    return found
