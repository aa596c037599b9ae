"""Checks the certificate files that the settings name, without a connection to a server."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from shared.alerts import SmtpOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseTlsOptions
from shared.errors import SettingsError
from shared.http.tls import Certificate, TlsOptions
from shared.settings import Finding, KeyPath, parts


def faults(settings: BaseModel) -> list[Finding]:
    """Return the faults of the files: missing, unreadable, not a certificate, or not the key of the certificate."""
    return [fault for path, part in parts(settings) for fault in _faults(path, part)]


def _faults(path: KeyPath, part: BaseModel) -> Iterator[Finding]:
    match part:
        case TlsOptions():
            unreadable = [*_read((*path, "cert_file"), part.cert_file), *_read((*path, "key_file"), part.key_file)]
            if part.client_ca_file is not None:
                unreadable += _authorities((*path, "client_ca_file"), part.client_ca_file)
            yield from unreadable or _pair(path, part)
        case DatabaseTlsOptions(ca_file=Path() as file):
            yield from _authorities((*path, "ca_file"), file)
        case SmtpOptions(ca_file=Path() as file):
            yield from _authorities((*path, "ca_file"), file)
        case KafkaOptions():
            if part.ca_file is not None:
                yield from _authorities((*path, "ca_file"), part.ca_file)
            if part.cert_file is not None:
                yield from _client_pair(path, part, part.cert_file)
        case _:
            pass


def _read(path: KeyPath, file: Path) -> list[Finding]:
    try:
        with file.open("rb") as opened:
            opened.read(1)
    except OSError as exc:
        return [Finding(path, f"{file} cannot be read: {exc.strerror}")]
    except ValueError:
        return [Finding(path, f"{str(file)!r} is not a file")]
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
        yield Finding(path, f"{file} contains no certificates; expected a PEM file of certificate authorities")


def _client_pair(path: KeyPath, options: KafkaOptions, cert_file: Path) -> Iterator[Finding]:
    unreadable = _read((*path, "cert_file"), cert_file)
    if options.key_file is not None:
        unreadable += _read((*path, "key_file"), options.key_file)
    if unreadable:
        yield from unreadable
        return
    try:
        options.load_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except (OSError, ValueError):
        files = f"{cert_file}" if options.key_file is None else f"{cert_file} and the key {options.key_file}"
        expected = (
            "a PEM file with a certificate and its key" if options.key_file is None else "a certificate and its key"
        )
        sentence = f"{files} cannot be used; expected {expected}, and `key_password` if the key is encrypted"
        yield Finding((*path, "cert_file"), sentence)
