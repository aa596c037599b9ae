"""Lowers the level of aiokafka's log lines.

Aiokafka logs what is normal while a broker restarts as errors and warnings. What matters of it reaches operators as an
exception or through `Bus.problem`, so its lines get the level DEBUG. Lines with a traceback report a bug and keep their
level.
"""

import logging

_LOGGERS = ("aiokafka", "aiokafka.conn")
"""The loggers of the modules in use: a filter does not apply to the loggers below its own."""


class _AsDebug(logging.Filter):
    """Gives each line the level DEBUG, and drops it unless DEBUG is enabled."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged."""
        if record.exc_info:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        # Not `isEnabledFor`, which is False in a filter from Python 3.13.4 on.
        return logging.getLogger(record.name).getEffectiveLevel() <= logging.DEBUG


_as_debug = _AsDebug()


def lower_aiokafka_logs() -> None:
    """Install the filter; repeated calls have no effect."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_as_debug)
