"""A function of a shadow that does what a shadow must not, in the process of the shadow."""

import os
from typing import Any

HANGS, ENDS, FILLS = 2, 3, 4
"""The numbers of events for which it does not return, ends the process, or takes more memory than it may."""


def go_wrong(data: Any) -> Any:
    while data["n"] == HANGS:
        pass
    if data["n"] == ENDS:
        os._exit(3)
    return {"n": len(bytearray(4 * 1024**3))} if data["n"] == FILLS else data
