from services.experience_api.registry.clients import Client, ClientChange, Policy


def test_only_what_is_named_changes() -> None:
    assert ClientChange().members == {}
    assert ClientChange(note="", may_send=False).members == {"note": "", "may_send": False}
    assert ClientChange(channels=(), policy=Policy.REJECT).members == {"channels": (), "policy": Policy.REJECT}


def test_the_secret_before_is_valid_as_well_while_it_is_there() -> None:
    assert Client("shop", "new").secret_hashes == ("new",)
    assert Client("shop", "new", previous_secret_hash="old").secret_hashes == ("new", "old")
