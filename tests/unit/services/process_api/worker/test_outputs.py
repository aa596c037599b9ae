"""Events for subscribers, and those for the next part."""

from services.process_api.pipeline.part import Forwarded, Part, part_in
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.worker.outputs import Tally, checked, parted
from shared.bus.protocol import RECORD_LIMIT, Outgoing
from shared.events.headers import headers_of


def forwarded(value: bytes = b"{}") -> Forwarded:
    made = Forwarded(b"C-9", value, headers_of(b"orders 1 a"))
    made.part = Part("totals", 1, "c")
    return made


def test_an_event_for_the_next_part_says_where_it_comes_from() -> None:
    plain = Outgoing(b"c", b"{}")
    tally = Tally()
    published, (internal,) = parted([plain, forwarded()], tally, 2, 3, 4)
    assert published == [plain]
    assert tally.forwarded == {1: 1}
    assert internal[:2] == (b"C-9", b"{}")
    assert part_in(internal.headers) == Part("totals", 1, "c", 2, 3, 4)


def test_only_subscribers_have_the_limit_of_events() -> None:
    assert isinstance(checked([Outgoing(b"c", b"x" * 11)], 10), Rejected)
    made: list[Outgoing] = [forwarded(b"x" * 11)]
    assert checked(made, 10) is made
    assert isinstance(checked([forwarded(b"x" * RECORD_LIMIT)], 10), Rejected)
    rejected = Rejected("no")
    assert checked(rejected, 10) is rejected
