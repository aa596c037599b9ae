"""Which state belongs to which step."""

from services.process_api.state.definitions import Definitions


def test_a_definition_keeps_its_instance() -> None:
    found = Definitions()
    assert found.run(["orders/dedupe/a", "orders/latest/b"])
    before = dict(found.active)
    assert not found.run(["orders/latest/b", "orders/dedupe/a"])
    assert found.active == before
    assert found.obsolete == []


def test_a_definition_that_comes_back_gets_another_instance() -> None:
    found = Definitions()
    found.run(["a", "b"])
    first = found.active["a"]
    assert found.run(["b"])
    assert found.obsolete == [first]
    assert found.run(["a", "b"])
    assert found.active["a"] not in {first, found.active["b"]}
    assert found.obsolete == [first]


def test_what_is_written_is_read() -> None:
    found = Definitions()
    found.run(["ü", "b"])
    found.run(["b"])
    read = Definitions.read(found.write(7))
    assert (read.next, read.active, read.offset) == (found.next, found.active, 7)
    assert Definitions.read(None) == Definitions()
