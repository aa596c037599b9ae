from trelay_client.clock import SYSTEM_CLOCK


async def test_time_never_goes_back() -> None:
    started = SYSTEM_CLOCK.monotonic()
    await SYSTEM_CLOCK.sleep(0)
    assert SYSTEM_CLOCK.monotonic() >= started
