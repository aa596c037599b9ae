"""Aiokafka's log lines, at the level that they have for us.

It reports as errors and warnings what is normal while a broker restarts, and as news what we say ourselves. What
matters of that reaches people as an exception or by `Bus.problem`. Its lines are for whoever asks for them; only what
comes with a traceback, which is a bug of its own, keeps its level.
"""

import logging

_LOGGERS = ("aiokafka", "aiokafka.conn")
"""Those of the modules that we use: a filter does not hold for what lies below."""


class _AsDebug(logging.Filter):
    """Gives each line the level DEBUG, and drops it where nobody listens to that."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about one line."""
        if record.exc_info:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


_as_debug = _AsDebug()


def quieten() -> None:
    """Let aiokafka speak as said above; asked twice, it does not matter."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_as_debug)
