"""Recognises files that are no UTF-8 text by their first bytes. No I/O."""

SIGNATURE_BYTES = 16
"""How many bytes of a file's beginning are enough."""

_SIGNATURES = (
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data"),
    (b"PK\x03\x04", "a ZIP archive, or a document in one, such as an Excel workbook (.xlsx)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document, such as an Excel workbook (.xls)"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\x7fELF", "an ELF binary"),
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\x00\x00\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)


def recognise(head: bytes) -> str | None:
    """Return what a file is that begins with these bytes; None if it may be UTF-8 text.

    A file of NUL bytes is not recognised: copytruncate makes such a hole at the beginning of a log file.
    """
    for signature, meaning in _SIGNATURES:
        # A line of text may begin with letters such as ORC.
        if head.startswith(signature) and not (signature.isalnum() and _is_text(head)):
            return meaning
    pairs = head[:4]
    if len(pairs) == len(b"\0a\0b") and (_alternates(pairs, 0) or _alternates(pairs, 1)):
        return "text in UTF-16 without a byte order mark"
    return None


def _is_text(head: bytes) -> bool:
    return all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head)


def _alternates(head: bytes, nul_at: int) -> bool:
    """Whether every second byte is NUL and the others are printable ASCII."""
    return not any(head[nul_at::2]) and all(ord(" ") <= byte <= ord("~") for byte in head[1 - nul_at :: 2])
