from pathlib import Path

import pytest

from shared.composition.settings import SharedSettings
from shared.errors import SettingsError
from shared.settings import load


def settings(tmp_path: Path, text: str) -> SharedSettings:
    (tmp_path / "trelay.yaml").write_text(f"telemetry: {text}\n")
    (tmp_path / "token").write_text("Bearer t0ken\n")
    return load(tmp_path / "trelay.yaml", SharedSettings, {}).model_copy()


def test_a_header_can_come_from_a_file(tmp_path: Path) -> None:
    found = settings(tmp_path, "{endpoint: 'https://c:4318', headers: {Authorization: {file: token}}}").telemetry
    assert found.headers["Authorization"].get_secret_value() == "Bearer t0ken"
    assert "t0ken" not in repr(found)


@pytest.mark.parametrize("endpoint", ["http://localhost:4318", "http://127.0.0.1:4318", "http://[::1]:4318"])
def test_headers_are_sent_to_the_loopback_without_tls(tmp_path: Path, endpoint: str) -> None:
    assert settings(tmp_path, f"{{endpoint: '{endpoint}', headers: {{a: b}}}}").telemetry.headers


def test_headers_are_not_sent_without_tls(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="headers are not sent without TLS"):
        settings(tmp_path, "{endpoint: 'http://collector:4318', headers: {a: b}}")


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://c:4317", "https://user:pw@c:4318", "https://c/?key=1"])
def test_an_endpoint_is_a_base_url_without_secrets(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"telemetry\.endpoint.*expected a URL such as"):
        settings(tmp_path, f"{{endpoint: '{endpoint}'}}")
