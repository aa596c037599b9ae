from services.experience_api.latest.opening import opened
from services.experience_api.latest.options import LatestOptions
from shared.database.options import DatabaseOptions

DATABASE = DatabaseOptions(url="postgresql://nobody@127.0.0.1:1/none")


async def test_what_is_not_set_is_not_opened() -> None:
    async with opened(None, DATABASE) as latest:
        assert latest is None


async def test_nothing_is_connected_before_its_first_use() -> None:
    options = LatestOptions(channels=("a",))
    async with opened(options, DATABASE) as latest:
        assert latest is not None
        assert latest.options is options
        assert latest.counts.written == 0
