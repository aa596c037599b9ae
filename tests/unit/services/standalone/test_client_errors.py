import pytest

from services.standalone.client_errors import client_errors_translated
from shared.errors import SettingsError, TrelayError
from trelay_client import Stopped, TrelayClientError, UsageError


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(UsageError("the reason"), SettingsError), (Stopped("the reason", 4501), TrelayError)],
)
def test_an_error_of_the_client_becomes_a_trelay_error_with_the_same_text(
    raised: TrelayClientError, expected: type[TrelayError]
) -> None:
    with pytest.raises(expected, match="the reason") as caught, client_errors_translated():
        raise raised
    assert type(caught.value) is expected
