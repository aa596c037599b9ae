"""The endpoints of the system layer; `test_commands` calls them all."""

from services.cli.sources.system_client import SystemClient


def test_errors_name_the_layer() -> None:
    assert SystemClient.service == "system layer"
