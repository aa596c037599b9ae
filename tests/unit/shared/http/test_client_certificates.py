from typing import Any

import pytest

from shared.http.client_certificates import certificate_names

CERTIFICATE = {
    "subject": ((("organizationName", "Shop"),), (("commonName", "ignored"),)),
    "subjectAltName": (("DNS", "shop.example.com"), ("IP Address", "192.0.2.7")),
}


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        (None, set()),
        ({}, set()),
        (CERTIFICATE, {"shop.example.com"}),
        ({"subject": CERTIFICATE["subject"]}, {"ignored"}),
        ({"subject": CERTIFICATE["subject"], "subjectAltName": (("IP Address", "192.0.2.7"),)}, {"ignored"}),
        ({"subjectAltName": (("URI", "spiffe://bank"), ("email", "a@b"))}, {"spiffe://bank", "a@b"}),
    ],
)
def test_the_names_of_a_certificate(certificate: dict[str, Any] | None, names: set[str]) -> None:
    assert certificate_names(certificate) == names
