from datetime import UTC, datetime
from pathlib import Path

import trustme

from shared.runtime.certificates import expiry


def test_the_first_certificate_of_a_file_decides(tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "tls.crt"
    soon = authority.issue_cert("localhost", not_after=datetime(2026, 1, 31, 8, 0, tzinfo=UTC))
    later = authority.issue_cert("localhost", not_after=datetime(2027, 1, 31, 8, 0, tzinfo=UTC))
    file.write_bytes(soon.cert_chain_pems[0].bytes() + later.cert_chain_pems[0].bytes())
    assert expiry(file) == 1_769_846_400.0


def test_a_file_without_a_certificate_has_no_expiry(tmp_path: Path) -> None:
    assert expiry(tmp_path / "missing.crt") is None
    (tmp_path / "empty.crt").write_text("no certificate")
    assert expiry(tmp_path / "empty.crt") is None
