"""The encodings that a log is read in. No I/O."""

import codecs
import re
from typing import NamedTuple

_WINDOWS = re.compile(r"win(?=\d)")
_OTHER_NAMES = {"sql_ascii": "utf-8", "koi8r": "koi8_r", "koi8u": "koi8_u", "euc_cn": "euccn"}
"""Those that Python calls by another name. A database in `SQL_ASCII` has text of any encoding."""


class Encoding(NamedTuple):
    """An encoding."""

    server: str
    """As PostgreSQL calls it."""
    codec: str
    """As Python calls it."""
    raw: bool
    """Whether it is that of the database, from which nothing is converted."""

    @classmethod
    def of(cls, server: str) -> "Encoding | None":
        """Return the encoding of a database; None where Python does not have it."""
        name = _WINDOWS.sub("cp", server.lower())
        try:
            return cls(server, codecs.lookup(_OTHER_NAMES.get(name, name)).name, raw=True)
        except LookupError:
            return None


UTF8 = Encoding("UTF8", "utf-8", raw=False)
