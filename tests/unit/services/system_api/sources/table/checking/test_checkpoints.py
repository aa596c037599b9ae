"""Checkpoints of other sources, and of other modes."""

from typing import NamedTuple

import msgspec
import pytest

from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors
from shared.errors import SettingsError


class Saved(NamedTuple):
    v: int
    mode: str


@pytest.mark.parametrize("checkpoint", [{}, {"": b"no JSON"}, {"": b"5"}, {"": b'{"v": "x"}'}])
def test_what_does_not_decode_is_of_another_source(checkpoint: dict[str, bytes]) -> None:
    error = pytest.raises(
        SettingsError,
        match=r"^the checkpoint is not that of an outbox \(.*\): give .*, or set its previous mode again$",
    )
    with error, checkpoint_errors("an outbox", "mode"):
        int(msgspec.json.decode(checkpoint[""], type=dict[str, int])["v"])


def test_the_mode_and_the_version_are_those_of_the_settings() -> None:
    check_saved_mode(Saved(1, "by id"), 1, "by id")
    for saved in (Saved(2, "by id"), Saved(1, "by at")):
        with pytest.raises(SettingsError, match=rf"of '{saved.mode}' \(version {saved.v}\), the settings read 'by id'"):
            check_saved_mode(saved, 1, "by id")
