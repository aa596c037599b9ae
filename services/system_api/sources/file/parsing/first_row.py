"""What some formats need of the first row of a file. No I/O."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class HeaderFormat(Protocol):
    """Formats that may need the first piece of the file, its header, before they can read another one."""

    @property
    def wants_header(self) -> bool:
        """Whether the header is still needed."""
        ...

    def header(self, piece: bytes) -> None:
        """Read the first piece that is not blank.

        Raises:
            Malformed: a column that the settings name is missing.
        """
        ...


@runtime_checkable
class SniffingFormat(Protocol):
    """Formats whose delimiter may be found in the first row."""

    @property
    def found_delimiter(self) -> str:
        """The delimiter that was found; empty if none was."""
        ...

    def use_delimiter(self, delimiter: str) -> None:
        """Take the delimiter that was found before, unless the settings name one."""
        ...
