"""Errors of TLS name the certificate that is at fault, and the setting."""

import ssl

import pytest

from shared.runtime.tls_errors import certificate_problem


def verification(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = message
    return error


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__context__ = cause
    return error


def test_a_certificate_that_is_not_accepted() -> None:
    error = caused(RuntimeError("no connection"), verification("Hostname mismatch, not valid for 'h'."))
    assert certificate_problem(error) == (
        "the certificate of the server is not accepted: Hostname mismatch, not valid for 'h'; connect to a name in it,"
        " and set `tls.ca_file` to its authority"
    )
    assert "`ca_file`" in (certificate_problem(error, prefix="") or "")


def test_the_error_of_a_library_has_its_reason_in_the_cause() -> None:
    error = caused(ssl.SSLCertVerificationError("cannot connect"), verification("self-signed certificate"))
    assert "self-signed certificate; connect" in (certificate_problem(error) or "")


def test_a_client_certificate_that_is_missing() -> None:
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")
    assert certificate_problem(alert) == (
        "the server says: certificate required; set `tls.cert_file` and `tls.key_file`"
    )


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "reset"),
        OSError("Connection lost"),
        RuntimeError("Error 104: Connection reset by peer"),
        caused(RuntimeError("no connection"), BrokenPipeError()),
    ],
    ids=["reset", "lost", "in words", "cause"],
)
def test_a_lost_connection_may_lack_a_client_certificate(error: BaseException) -> None:
    assert certificate_problem(error) is None
    problem = certificate_problem(error, anonymous=True) or ""
    reason = "connection reset by peer" if getattr(error, "errno", None) else str(error)
    assert problem == (f"{reason}; if the server requires a client certificate, set `tls.cert_file` and `tls.key_file`")


def test_a_server_without_tls() -> None:
    error = caused(RuntimeError("Error 1"), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"))
    assert certificate_problem(error) == ("the server answers without TLS; connect to its port for TLS, or without TLS")


def test_a_lost_connection_without_words_has_its_type() -> None:
    assert (certificate_problem(ConnectionResetError(), anonymous=True) or "").startswith("ConnectionResetError; if")


def test_other_errors_and_endless_causes_are_none() -> None:
    assert certificate_problem(ConnectionResetError()) is None
    assert certificate_problem(OSError("no route"), anonymous=True) is None
    error = RuntimeError()
    error.__cause__ = error
    assert certificate_problem(error) is None
