"""Layers of changes above a store."""

from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore


def layers() -> Layers:
    store = MemoryStore()
    store.apply({b"table1": b"store", b"table2": b"store", b"table3": b"store"})
    return Layers(store)


def test_the_newest_layer_is_seen() -> None:
    found = layers()
    found.open.update({b"table1": b"first", b"table2": None})
    found.seal()
    found.open.update({b"table1": b"second"})
    assert (found.get(b"table1"), found.get(b"table2"), found.get(b"table3")) == (b"second", None, b"store")
    found.seal()
    assert found.get(b"table1") == b"second"
    found.sealed.pop()
    assert found.get(b"table1") == b"first"


def test_a_scan_merges_the_layers() -> None:
    found = layers()
    found.open.update({b"table1": None, b"table4": b"sealed"})
    found.seal()
    found.open.update({b"table0": b"open", b"table4": None})
    provisional = {b"table15": b"", b"table3": None, b"table1": b"back"}
    assert list(found.scan(b"table0", b"table9", provisional)) == [b"table0", b"table1", b"table15", b"table2"]
    assert list(found.scan(b"table0", b"table9", {})) == [b"table0", b"table2", b"table3"]
