"""What every test gets: the servers as fixtures, and a watch over the event loop."""

import gc
import os
import secrets
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from blockbuster import BlockBuster

from tests.servers import open_connections

# In this order: what the second imports of the first must be known as a plugin by then.
pytest_plugins = [
    "tests.hangs",
    "tests.servers.missing",
    "tests.servers.fixtures",
    "tests.servers.brokers",
    "tests.servers.migrated",
]

# A busy machine is no failure, and what failed can be tried again.
hypothesis.settings.register_profile("trelay", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "coverage", hypothesis.settings.get_profile("trelay"), max_examples=15, derandomize=True
)
hypothesis.settings.load_profile("trelay")


def pytest_configure() -> None:
    """Watch connections from the first one on; what is collected stays, so nothing looks for garbage in it."""
    open_connections.watch()
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempt what was collected from garbage collection: with fifteen thousand tests, it took most of a second."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary values by their argument: the id of compressed bytes would differ between two processes."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture
def seed(record_property: Callable[[str, object], None]) -> int:
    """Seeds everything random in a test. It is printed; `TRELAY_TEST_SEED` repeats a run."""
    chosen = int(os.environ.get("TRELAY_TEST_SEED") or secrets.randbits(32))
    print(f"seed {chosen}")
    record_property("seed", chosen)
    return chosen


SQS_CLIENT = "services.system_api.sources.queue.sqs.client"
"""It opens its client in a thread, which has a loop of its own for that."""


@pytest.fixture(scope="session")
def _blocking_calls() -> BlockBuster:
    """Prepare the watch once: that takes longer than most of the tests."""
    watch = BlockBuster(
        ["services", "shared", "trelay_client"],
        excluded_modules=["services.standalone.embedded", "services.system_api.contract", SQS_CLIENT],
    )
    watch.functions["io.TextIOWrapper.write"].can_block_in("logging/__init__.py", "emit")
    return watch


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop(_blocking_calls: BlockBuster) -> Iterator[None]:
    """Fail a test in which our code makes a blocking call on the event loop, where it would stop every other task.

    The servers for one machine are synchronous on purpose, and so are the handlers of logs.
    """
    _blocking_calls.activate()
    try:
        yield
    finally:
        _blocking_calls.deactivate()
