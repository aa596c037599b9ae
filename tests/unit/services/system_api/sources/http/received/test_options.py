"""The settings that pick events."""

from services.system_api.sources.http.received.options import ReceivedOptions


def test_expressions_and_headers_are_told_apart() -> None:
    given = {"subject": {"header": "X-Subject"}, "type_from": {"header": "event"}, "id": "a"}
    options = ReceivedOptions.model_validate(given)
    assert options.picking() == {"records": "$", "id": "a"}
    assert options.kept_headers() == ("X-Subject", "event")
    assert ReceivedOptions().kept_headers() == ()
