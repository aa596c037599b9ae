import aiohttp
import pytest

from shared.alerts import RecordingAlerts
from shared.composition.parts import opened_parts
from shared.composition.serving import serving
from shared.composition.settings import SharedSettings
from shared.http.server import ListenOptions, application
from shared.runtime.tasks import Tasks

LISTEN = ListenOptions(port=0)


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        return answer.status


@pytest.mark.parametrize("error", [None, RuntimeError("broken")])
async def test_it_is_unready_then_drains_then_closes_the_listener(error: Exception | None) -> None:
    seen: list[object] = []
    url = ""

    async def drain() -> None:
        seen.append(await status(url))

    async with opened_parts("test", SharedSettings(), alerts=RecordingAlerts()) as parts, Tasks() as tasks:
        app = application(LISTEN, parts.health)
        try:
            async with serving(app, LISTEN, parts, tasks, drain) as running:
                url = running.listening.url
                seen.append(await status(url))
                if error is not None:
                    raise error
        except RuntimeError as exc:
            assert exc is error  # noqa: PT017 -- raised for one of the two cases alone
        with pytest.raises(aiohttp.ClientConnectionError):
            await status(url)
    assert seen == [200, 503]


async def test_it_fails_with_its_tasks() -> None:
    async def breaks() -> None:
        raise ValueError("broken")

    async def drain() -> None:
        return

    async with (
        opened_parts("test", SharedSettings(), alerts=RecordingAlerts()) as parts,
        Tasks() as tasks,
        serving(application(LISTEN, parts.health), LISTEN, parts, tasks, drain) as running,
    ):
        tasks.keep("sources", breaks())
        assert str(await running.failed()) == "broken"
