from services.experience_api.registry.clients import Client, ClientChange, Policy


def test_only_what_is_named_changes() -> None:
    assert ClientChange().members == {}
    assert ClientChange(note="", may_send=False).members == {"note": "", "may_send": False}
    assert ClientChange(channels=(), policy=Policy.REJECT).members == {"channels": (), "policy": Policy.REJECT}


def test_the_secret_before_is_valid_as_well_while_it_is_there() -> None:
    assert Client("shop", "new").secret_hashes == ("new",)
    assert Client("shop", "new", previous_secret_hash="old").secret_hashes == ("new", "old")


def test_a_connection_is_made_again_for_the_permissions_that_it_is_admitted_with() -> None:
    had = {"may_send": True, "loopback_only": False}
    assert ClientChange(may_send=False).needs_reconnection(**had)
    assert ClientChange(loopback_only=True).needs_reconnection(**had)
    assert ClientChange(may_send=True).needs_reconnection(may_send=False, loopback_only=True)
    for change in (
        ClientChange(may_send=True, loopback_only=False),
        ClientChange(channels=("a",), note="n", policy=Policy.REPLACE, max_connections=2),
    ):
        assert not change.needs_reconnection(**had)
    assert not ClientChange(loopback_only=False).needs_reconnection(may_send=True, loopback_only=True)
