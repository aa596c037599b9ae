"""Whether the certificate files that settings name can be used. Reads them, and asks no server."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from shared.alerts import SmtpOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseTlsOptions
from shared.errors import SettingsError
from shared.settings import Finding, KeyPath, parts
from shared.tls import Certificate, TlsOptions


def faults(settings: BaseModel) -> list[Finding]:
    """Return what is wrong with each file: missing, unreadable, no certificate, or not the key of its certificate."""
    return [fault for path, part in parts(settings) for fault in _faults(path, part)]


def _faults(path: KeyPath, part: BaseModel) -> Iterator[Finding]:
    match part:
        case TlsOptions():
            unreadable = [*_read((*path, "certificate"), part.certificate), *_read((*path, "key"), part.key)]
            yield from unreadable or _pair(path, part)
        case DatabaseTlsOptions(ca_file=Path() as file):
            yield from _authorities((*path, "ca_file"), file)
        case SmtpOptions(ca=Path() as file):
            yield from _authorities((*path, "ca"), file)
        case KafkaOptions():
            if part.ca_file is not None:
                yield from _authorities((*path, "ca_file"), part.ca_file)
            if part.certificate_file is not None:
                yield from _with_key((*path, "certificate_file"), part.certificate_file)
        case _:
            pass


def _read(path: KeyPath, file: Path) -> list[Finding]:
    try:
        with file.open("rb") as opened:
            opened.read(1)
    except OSError as exc:
        return [Finding(path, f"{file} cannot be read: {exc.strerror}")]
    except ValueError:
        return [Finding(path, f"{str(file)!r} is no path of a file")]
    return []


def _pair(path: KeyPath, options: TlsOptions) -> Iterator[Finding]:
    try:
        Certificate(options)
    except SettingsError as exc:
        yield Finding(path, str(exc))


def _authorities(path: KeyPath, file: Path) -> Iterator[Finding]:
    if unreadable := _read(path, file):
        yield from unreadable
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (OSError, ValueError):
        yield Finding(path, f"{file} holds no certificates; expected a PEM file of authorities")


def _with_key(path: KeyPath, file: Path) -> Iterator[Finding]:
    if unreadable := _read(path, file):
        yield from unreadable
        return
    try:
        # A function, for without one OpenSSL would ask for a password at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, password=lambda: "")
    except (OSError, ValueError):
        yield Finding(path, f"{file} cannot be used; expected a PEM file of a certificate and its key, not encrypted")
