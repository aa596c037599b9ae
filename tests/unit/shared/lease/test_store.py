"""How leases are watched."""

import pytest

from shared.lease.store import watched


@pytest.mark.parametrize(("name", "prefix"), [("source/orders", "source/"), ("group/a/1", "group/a/"), ("alone", "")])
def test_a_lease_is_watched_by_its_name_and_by_what_comes_before(name: str, prefix: str) -> None:
    assert watched(name) == (name, prefix)
