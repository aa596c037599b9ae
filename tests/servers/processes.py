"""How long the servers of tests may take to start, and whether a process is gone."""

import psutil

from services.standalone.embedded.process import wait_until

START_TIMEOUT = 240.0
"""Seconds: a machine on which everything is killed and restarted at once is slow, and that is no failure."""


def ended(pid: int, timeout: float = 60.0) -> bool:
    """Return whether a process ends within `timeout` seconds; one that waits to be reaped by its parent has ended."""
    return wait_until(lambda: not _lives(pid), timeout)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
