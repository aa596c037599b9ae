"""Aiokafka's lines, at our levels."""

import logging

import pytest

from shared.bus.kafka.client.quiet import quieten


def test_what_is_normal_for_aiokafka_is_for_those_who_ask(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    quieten()
    connection = logging.getLogger("aiokafka.conn")
    connection.warning("Sending username and password in the clear")
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        connection.error("Unable connect")
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("DEBUG", "Unable connect")


def test_its_bugs_keep_their_level(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("aiokafka.conn").exception("Unexpected exception in AIOKafkaConnection")
    [line] = caplog.records
    assert line.levelname == "ERROR"
