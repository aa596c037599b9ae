"""The settings of alerts."""

import pytest

from shared.alerts import AlertOptions
from shared.errors import SettingsError
from shared.settings import Options, parse


class Settings(Options):
    alerts: AlertOptions = AlertOptions()


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_follows_from_the_security(security: str, port: int) -> None:
    text = f"alerts: {{smtp: {{host: mail, security: {security}}}, recipients: [a@b]}}"
    smtp = parse(text, Settings, {}).alerts.smtp
    assert smtp is not None
    assert smtp.address == ("mail", port)


@pytest.mark.parametrize(
    ("alerts", "error"),
    [
        ("{smtp: {host: mail}}", "recipients: smtp needs at least one address"),
        ("{smtp: {host: mail, user: a}, recipients: [a@b]}", "user and password belong together"),
        ("{smtp: {host: mail, security: none, user: a, password: b}, recipients: [a@b]}", "not sent without TLS"),
        ('{recipients: ["a@b\\nBcc: c@d"]}', r"alerts\.recipients\.0: expected a bare e-mail address"),
        ('{name: "a\\nb"}', r"alerts\.name: expected text of the form"),
    ],
)
def test_settings_that_cannot_work_are_refused(alerts: str, error: str) -> None:
    with pytest.raises(SettingsError, match=error):
        parse(f"alerts: {alerts}", Settings, {})


def test_a_password_may_cross_the_loopback() -> None:
    smtp = "{host: 127.0.0.1, security: none, user: a, password: hunter2}"
    found = parse(f"alerts: {{smtp: {smtp}, recipients: [a@b]}}", Settings, {})
    assert "hunter2" not in repr(found)
