"""The arguments of connections."""

import ssl
from pathlib import Path

import pytest

from shared.database.arguments import connect_arguments, tls_context
from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.errors import SettingsError


def test_the_server_ends_a_statement_before_the_client_gives_up_waiting() -> None:
    arguments = connect_arguments(DatabaseOptions(statement_timeout=7, connect_timeout=3), "tests")
    assert arguments["server_settings"]["statement_timeout"] == "7000"
    assert arguments["command_timeout"] == 9
    assert arguments["timeout"] == 3
    assert arguments["server_settings"]["application_name"] == "trelay tests"
    assert arguments["ssl"] is False


def test_certificates_are_verified_unless_the_settings_say_otherwise() -> None:
    verified = tls_context(DatabaseTlsOptions())
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    unverified = tls_context(DatabaseTlsOptions(verify=False))
    assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"database\.tls\.ca_file: .*absent.* cannot be read"):
        tls_context(DatabaseTlsOptions(ca_file=tmp_path / "absent"))
