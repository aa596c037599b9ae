"""A password in the URL of a setting, moved to the setting `password`, so that no URL that is shown contains it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlunsplit

from pydantic import SecretStr


def move_password(given: Mapping[str, Any], parts: SplitResult) -> Mapping[str, Any]:
    """Return the settings with the password of `url`, which `parts` are of, in `password`.

    Raises:
        ValueError: there is one in both.
    """
    account, at, hosts = parts.netloc.rpartition("@")
    user, colon, password = account.partition(":")
    if not colon:
        return given
    if given.get("password") is not None:
        raise ValueError("found a password in `url` and in `password`; expected one of them")
    return {
        **given,
        "url": urlunsplit(parts._replace(netloc=f"{user}{at}{hosts}")),
        "password": SecretStr(unquote(password)),
    }
