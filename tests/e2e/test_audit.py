"""The checker itself: each kind of fault is found, and put down to the hop that made it."""

from tests.e2e.audit import Audit, Sighting

WAY = [Sighting(subject, number) for number in range(3) for subject in ("a", "b")]


def audit(ingest: list[Sighting], publish: list[Sighting], subscriber: list[Sighting]) -> list[str]:
    noted = Audit("orders")
    for hop, sightings in {"upstream": WAY, "ingest": ingest, "publish": publish, "subscriber": subscriber}.items():
        noted.saw(hop, sightings)
    return noted.faults()


def test_exact_delivery_has_no_fault() -> None:
    assert audit(WAY, WAY, WAY) == []


def test_the_hop_that_lost_an_event_is_named_once() -> None:
    assert audit(WAY, WAY[:-1], WAY[:-1]) == [
        "orders: 1 lost between ingest and publish: [Sighting(subject='b', number=2)]"
    ]


def test_the_hop_that_repeated_an_event_is_named_once() -> None:
    again = [*WAY, WAY[-1]]
    assert audit(WAY, WAY, again) == [
        "orders: 1 repeated between publish and subscriber: [Sighting(subject='b', number=2)]"
    ]
    assert audit(again, again, again) == [
        "orders: 1 repeated between upstream and ingest: [Sighting(subject='b', number=2)]"
    ]


def test_disorder_within_a_subject_is_found_and_between_subjects_is_none() -> None:
    swapped = [WAY[1], WAY[0], *WAY[2:]]
    assert audit(swapped, swapped, swapped) == []
    disordered = [*WAY[2:4], *WAY[:2], *WAY[4:]]
    (fault,) = audit(WAY, disordered, disordered)
    assert "2 out of order by subject at publish" in fault


def test_an_event_from_nowhere_is_a_fault() -> None:
    stray = [*WAY, Sighting("c", 0)]
    (fault,) = audit(WAY, WAY, stray)
    assert "1 invented between publish and subscriber" in fault
