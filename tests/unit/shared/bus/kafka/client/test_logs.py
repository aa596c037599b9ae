"""The level of aiokafka's log lines."""

import logging

import pytest

from shared.bus.kafka.client.logs import lower_aiokafka_logs


def test_lines_of_aiokafka_are_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    lower_aiokafka_logs()
    lower_aiokafka_logs()
    connection = logging.getLogger("aiokafka.conn")
    connection.warning("Sending username and password in the clear")
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        connection.error("Unable connect")
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("DEBUG", "Unable connect")


def test_lines_with_a_traceback_keep_their_level(caplog: pytest.LogCaptureFixture) -> None:
    lower_aiokafka_logs()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("aiokafka.conn").exception("Unexpected exception in AIOKafkaConnection")
    [line] = caplog.records
    assert line.levelname == "ERROR"
