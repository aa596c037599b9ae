import pytest

from services.standalone.client_errors import client_errors_translated
from shared.errors import SettingsError, TrelayError
from trelay_client import Stopped, TrelayClientError, UsageError


@pytest.mark.parametrize(("raised", "expected"), [(UsageError, SettingsError), (Stopped, TrelayError)])
def test_an_error_of_the_client_becomes_a_trelay_error_with_the_same_text(
    raised: type[TrelayClientError], expected: type[TrelayError]
) -> None:
    with pytest.raises(expected, match="the reason") as caught, client_errors_translated():
        raise raised("the reason")
    assert type(caught.value) is expected
