"""What any replica answers about a source."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.system_api.inquiries import Inquiries
from services.system_api.sources.queue.inquiry import QueueInquiry
from services.system_api.sources.queue.source import QueueSource
from shared.composition.parts import opened_parts
from shared.errors import Unavailable
from tests.unit.services.system_api.sources.queue.test_opening import MemoryKind
from tests.unit.services.system_api.test_app import settings


async def test_without_a_bus_nothing_is_known(tmp_path: Path) -> None:
    given = settings(tmp_path)
    async with opened_parts("system_api", given) as parts:
        inquiries = Inquiries(given.system.sources, given.bus.topics, parts)
        day = datetime(2026, 1, 1, tzinfo=UTC)
        for asked in (
            inquiries.position("orders"),
            inquiries.preview("orders", "beginning"),
            inquiries.reconcile("orders", day, day),
        ):
            with pytest.raises(Unavailable, match="not connected yet"):
                await asked


async def test_a_queue_is_opened_to_run_it_and_asked_beside_it(tmp_path: Path) -> None:
    given = settings(tmp_path)
    kind: Any = MemoryKind(type="t")
    async with opened_parts("system_api", given) as parts:
        inquiries = Inquiries({"numbers": kind}, given.bus.topics, parts)
        async with inquiries.opener("numbers")({}) as running, inquiries.inquirer("numbers")({}) as asked:
            assert isinstance(running, QueueSource)
            assert isinstance(asked, QueueInquiry)
