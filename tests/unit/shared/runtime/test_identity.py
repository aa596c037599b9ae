from importlib.metadata import PackageNotFoundError, version

import pytest

from shared.runtime import identity
from shared.runtime.identity import Identity, release, unique_node_name


def test_the_release_is_that_of_the_installed_distribution() -> None:
    assert Identity("system_api", "replica-1").version == release() == version("trelay")


def test_a_folder_that_is_not_installed_has_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(identity, "version", missing)
    assert release.__wrapped__() == "unknown"


def test_each_start_has_a_name_of_its_own() -> None:
    assert unique_node_name() != unique_node_name()
