"""TLS to a service of Trelay."""

from pathlib import Path

import pytest
import trustme

from services.cli.tls import ca_context
from shared.errors import SettingsError


def test_the_authorities_of_a_file_are_trusted(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ca_context(tmp_path / "ca.pem")
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert ca_context(None) is None


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="contains no certificates"):
        ca_context(tmp_path / "ca.pem")
