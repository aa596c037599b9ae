"""Names of Kafka headers that are not text, as programs in other languages can send them."""

from typing import Self


class RawBytes(str):
    """A name that is encoded as the given bytes.

    Its text holds the bytes, so that two names are equal only if their bytes are: names are looked up in caches.
    """

    __slots__ = ()

    def __new__(cls, content: bytes) -> Self:
        return super().__new__(cls, content.decode("utf-8", "surrogateescape"))

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, errors)
