"""Which pipelines a record goes through. `test_batch.py` has the forms of headers."""

from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.routing import Refused, Router, id_of, source_of
from shared.events.headers import headers_of
from tests.unit.services.process_api.making import event, pipeline, record, selection


def test_a_record_of_the_system_layer_is_routed_by_its_provenance_alone() -> None:
    made = pipeline()
    router = Router(selection(made), PoisonTracker())
    routed = router.route(record(b"not looked at"))
    assert not isinstance(routed, Refused)
    assert routed == (b"orders 1700000000000 orders:7", headers_of(b"orders 1700000000000 orders:7"), True)
    assert list(router.pipelines(routed)) == [made]
    assert source_of(routed) == b"orders"


def test_the_provenance_of_another_program_is_made_from_its_event() -> None:
    router = Router(selection(pipeline()), PoisonTracker())
    routed = router.route(record(event(1), source=None))
    assert routed[:1] == (b"orders 1700000000001 orders:7",)
    assert router.route(record(b"x", source=None)) == Refused(
        "event: not a JSON object: JSON is malformed: invalid character (byte 0)", None, attempted=True
    )


def test_poison_is_not_run() -> None:
    poison = PoisonTracker()
    poison.isolate(3, 3, "too large")
    refused = Router(selection(pipeline()), poison).route(record(event(1), 3))
    assert refused == Refused("too large", b"orders 1700000000000 orders:7", attempted=False)
    assert not isinstance(Router(selection(pipeline()), poison).route(record(event(1), 2)), Refused)


def test_an_id_is_found_where_there_is_one() -> None:
    assert id_of(b"orders 1 x") == "x"
    assert id_of(None) is None
    assert id_of(b"orders") is None
