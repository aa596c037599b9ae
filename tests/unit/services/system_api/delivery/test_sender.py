"""Events on their way to `POST /entity`."""

import logging
import random
from pathlib import Path
from typing import Any

import pytest

from services.system_api.delivery.options import DeliverOptions
from services.system_api.delivery.sender import EventsRefused, RefusedEvent, Sender, _body
from shared.bus.protocol import Outgoing
from shared.errors import Fenced, SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.delivery.receiver import Receiver
from tests.unit.services.system_api.harness import InstantClock


def events(count: int, size: int = 2) -> list[Outgoing]:
    return [Outgoing(b"k", b'{"id":"%d","data":"%b"}' % (n, b"x" * size)) for n in range(count)]


def options(url: str, **more: Any) -> DeliverOptions:
    return DeliverOptions.model_validate({"url": url, "retry": {"attempts": 3, "first_wait": 0.1}, **more})


def test_a_body_is_bounded_in_bytes_and_keeps_the_order() -> None:
    values = [record.value for record in events(3)]
    assert _body(values, 1_000_000) == (b"[" + b",".join(value or b"" for value in values) + b"]", 3)
    assert _body([record.value for record in events(4, 1000)], 2100)[1] == 2
    assert _body([record.value for record in events(2, 5000)], 1024)[1] == 1, "one event may have more"


async def test_events_are_stored_in_order() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url, batch_events=3), InstantClock(), random.Random(1)) as sender,
    ):
        assert await sender.send(events(7)) == {}
        assert await sender.send([]) == {}
    assert receiver.ids == [str(n) for n in range(7)]
    assert receiver.requests == 3
    assert sender.problem is None


async def test_what_is_refused_does_not_stop_the_events_beside_it(seed: int) -> None:
    """Whichever they are, however many: the others are stored once, in order."""
    rng = random.Random(seed)
    async with Receiver().running() as receiver:
        for _ in range(60):
            count, most = rng.randint(1, 40), rng.randint(1, 20)
            bad = set(rng.sample(range(count), rng.randint(0, count)))
            receiver.events.clear()
            receiver.refuses = lambda event, bad=bad: int(event["id"]) in bad  # type: ignore[misc]
            receiver.refusal = (rng.choice([400, 413, 422]), None)
            given = options(receiver.url, batch_events=most)
            async with Sender.opened(given, InstantClock(), rng) as sender:
                refused = await sender.send(events(count))
                assert sender.problem is None
            assert set(refused) == bad
            assert receiver.ids == [str(n) for n in range(count) if n not in bad]
            for event in refused.values():
                assert event.too_large == (receiver.refusal[0] == 413)
                assert ": bad" in event.reason


async def test_nothing_is_sent_again_by_who_has_lost_the_source_meanwhile() -> None:
    """As by a replica that was paused in the middle: another one has sent newer events by then."""
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url, batch_events=2), InstantClock(), random.Random(1)) as sender,
    ):
        with pytest.raises(Fenced, match="another run of this source delivers"):
            await sender.send(events(6), lambda: receiver.requests < 2)
        receiver.status = 503
        with pytest.raises(Fenced):
            await sender.send(events(6), lambda: receiver.requests < 3)
    assert receiver.requests == 3, "one that failed is not retried"
    assert receiver.ids == ["0", "1", "2", "3"]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_that_arrives_in_pieces(status: int) -> None:
    """As from a proxy: its beginning alone names no event, and the source would stop for good."""
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.pieces, receiver.refusal = 7, (status, None)
        receiver.refuses = lambda event: event["id"] == "2"
        refused = await sender.send(events(5))
    assert list(refused) == [2]
    assert refused[2].reason.endswith(f"answered {status}: event 2: bad")
    assert receiver.ids == ["0", "1", "3", "4"]


async def test_a_limit_of_the_other_side_that_is_lower_costs_few_requests() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.largest = 2000
        assert await sender.send(events(1000, 2)) == {}
        assert receiver.requests < 30, "13 would do"
    assert receiver.ids == [str(n) for n in range(1000)]


async def test_a_flood_of_refused_events_does_not_send_them_again_and_again() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.refuses = lambda event: int(event["id"]) < 400
        refused = await sender.send(events(500))
        assert set(refused) == set(range(400))
        assert receiver.received < 3 * 500
    assert receiver.ids == [str(n) for n in range(400, 500)]


@pytest.mark.parametrize("named", [-1, 3, "0", 1.5, [], {}])
async def test_a_place_that_no_event_has_names_no_event(named: object) -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.refuses, receiver.refusal = lambda _: True, (400, named)
        with pytest.raises(EventsRefused, match="answered 400: event 0: bad"):
            await sender.send(events(3))
    assert receiver.requests == 1


async def test_a_failure_is_retried_by_the_policy_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = InstantClock()
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), clock, random.Random(1)) as sender,
    ):
        receiver.status = 503
        with pytest.raises(Unavailable, match="answered 503: not now"):
            await sender.send(events(1))
        assert receiver.requests == 3
        assert len(clock.slept) == 2
        assert sender.problem == f"{receiver.url}: answered 503: not now"
        receiver.status = 202
        await sender.send(events(1))
        assert sender.problem is None
    messages = [record.message for record in caplog.records if record.name.endswith("sender")]
    assert messages == ["delivery failed; retrying", "delivery works again"]


class PassingClock(InstantClock):
    """Time passes only while it sleeps."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.at += seconds


@pytest.mark.parametrize("status", [429, 503])
async def test_no_request_is_sent_before_the_other_side_wants_it(status: int) -> None:
    clock = PassingClock()
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), clock, random.Random(1)) as sender,
    ):
        receiver.status, receiver.headers = status, {"Retry-After": "12"}
        with pytest.raises(Unavailable, match=f"answered {status}: not now"):
            await sender.send(events(1))
        assert receiver.requests == 1, "the other attempts came too early"
        receiver.status = 202
        await sender.send(events(1))
        assert clock.at >= 1012.0
        assert receiver.requests == 2
        await sender.send(events(1))
        assert clock.at < 1013.0, "the pause is over"
    assert receiver.ids == ["0", "0"]


async def test_a_problem_that_no_request_meets_any_more_is_over() -> None:
    """The only source that met it may be paused, or run on another replica: nothing would ever end it."""
    clock = PassingClock()
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), clock, random.Random(1)) as sender,
    ):
        receiver.status, receiver.headers = 503, {"Retry-After": "1000"}
        for _ in range(20):
            with pytest.raises(Unavailable):
                await sender.send(events(1))
            clock.at += 60
            assert sender.problem == f"{receiver.url}: answered 503: not now"
        clock.at += 300
        assert sender.problem is None


async def test_a_pause_that_is_absurd_is_bounded() -> None:
    clock = PassingClock()
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), clock, random.Random(1)) as sender,
    ):
        receiver.status, receiver.headers = 503, {"Retry-After": "999999999999"}
        with pytest.raises(Unavailable):
            await sender.send(events(1))
        receiver.status = 202
        clock.at += 3600
        await sender.send(events(1))
    assert receiver.requests == 2


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 408, 429, 500])
async def test_whatever_is_not_stored_is_unavailable(status: int) -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.status = status
        with pytest.raises(Unavailable, match=f"answered {status}: not now"):
            await sender.send(events(1))
    assert receiver.events == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "malformed"), (415, "unsupported-type"), (422, "malformed"), (403, "publishing-not-permitted")],
)
async def test_events_that_are_refused_are_no_outage_of_the_other_side(status: int, code: str) -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.status, receiver.code = status, code
        with pytest.raises(EventsRefused, match=f"answered {status}: not now"):
            await sender.send(events(1))
        assert sender.problem is None
    assert receiver.requests == 1


async def test_an_answer_that_is_lost_sends_the_same_events_again() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.lose_answers = True
        with pytest.raises(Unavailable):
            await sender.send(events(2))
    assert receiver.ids == ["0", "1"] * 3


async def test_a_body_that_is_too_large_is_not_retried() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.largest = 100
        refused = await sender.send(events(1, 1000))
    reason = f"{receiver.url} answered 413: the body is above the limit of 100 bytes"
    assert refused == {0: RefusedEvent(reason, too_large=True)}
    assert receiver.requests == 1
    assert sender.problem is None


async def test_a_request_that_is_too_large_becomes_smaller_ones() -> None:
    async with (
        Receiver().running() as receiver,
        Sender.opened(options(receiver.url), InstantClock(), random.Random(1)) as sender,
    ):
        receiver.largest = 100
        large = Outgoing(b"k", b'{"id":"large","data":"%b"}' % (b"x" * 200))
        assert set(await sender.send([*events(9), large, *events(3)])) == {9}
    assert receiver.ids == [str(n) for n in [*range(9), *range(3)]]


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    given = options("http://127.0.0.1:1/entity")
    async with Sender.opened(given, InstantClock(), random.Random(1)) as sender:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/entity: "):
            await sender.send(events(1))


async def test_a_file_without_authorities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    given = options("https://relay/entity", ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(SettingsError, match=r"system\.deliver\.ca_file: .* contains no certificates"):
        async with Sender.opened(given, SYSTEM_CLOCK, random.Random(1)):
            pass
