import pytest

from trelay_client import ClientCredentials, Token, UsageError
from trelay_client.credentials import check_credentials


@pytest.mark.parametrize("found", [ClientCredentials("billing", "gehe im: ünd ok"), Token("eyJ.x-y_z")])
def test_what_a_header_can_carry_is_taken(found: ClientCredentials | Token) -> None:
    check_credentials(found)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (ClientCredentials("billing", "hunter2\n"), "client_secret"),
        (ClientCredentials("billing", "hunter2\r"), "client_secret"),
        (ClientCredentials("billing\x7f", "hunter2"), "client_id"),
        (ClientCredentials("billing", "hunter2\udc80"), "client_secret"),
        (Token("hunter2\n"), "token"),
    ],
)
def test_what_it_cannot_carry_is_refused_without_being_shown(found: ClientCredentials | Token, name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: found a control character") as caught:
        check_credentials(found)
    assert "hunter2" not in str(caught.value)
