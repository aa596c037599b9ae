"""The settings of file systems that `path` names by a URL, such as `s3://bucket/in/*.csv`."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.settings import Options, Secret

SCHEMES = ("s3", "sftp", "memory", "gs", "abfs")
"""File systems that can be read. The last two need packages that no extra installs, and are not tested."""

_PORTS = 65_536

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


def scheme_of(path: str) -> str | None:
    """Return the scheme of a URL; None for a local path."""
    found = _URL.fullmatch(path)
    return None if found is None else found[1]


def file_system_of(url: str) -> tuple[str, str]:
    """Return what two URLs of one file system have in common: the scheme, and the host if there is one."""
    scheme, _, rest = url.partition("://")
    return scheme, rest.partition("/")[0] if scheme == "sftp" else ""


def path_in(url: str) -> str:
    """Return the path on its file system that a URL names: with the bucket, without a host; it begins with `/`."""
    found = _URL.fullmatch(url)
    assert found is not None, "the options require it"
    path = found[2].partition("/")[2] if found[1] == "sftp" else found[2]
    return "/" + path.lstrip("/")


def check_url(url: str) -> str:
    """Return a URL of files.

    Raises:
        ValueError: it cannot be read.
    """
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        found = url if scheme is None else f"{scheme}://"
        expected = "a URL" if scheme is None else "a local path, or a URL"
        raise ValueError(f"found {found}; expected {expected} of {', '.join(SCHEMES)}")
    place = url.partition("://")[2].partition("/")[0]
    if scheme != "memory" and not place:
        raise ValueError(f"found no {'host' if scheme == 'sftp' else 'bucket'} in {url!r}")
    if "@" in place:
        raise ValueError("found a user in the URL; set remote.options.username instead")
    port = place.partition(":")[2]
    if scheme == "sftp" and ":" in place and not (port.isascii() and port.isdigit() and 0 < int(port) < _PORTS):
        raise ValueError(f"found port {port!r} in {url!r}; expected a number, as in sftp://host:22/in/*.csv")
    return url


class RemoteOptions(Options):
    """How files of a URL are reached, and what happens to them once they are read."""

    options: dict[str, str | int | float | bool] = Field(default={})
    """Arguments of the file system that are no secrets, such as `endpoint_url` of S3 (s3fs) or `username` and
    `known_hosts` of SFTP (asyncssh)."""
    secrets: dict[str, Secret] = Field(default={})
    """Arguments of the file system that are secrets, such as `key` and `secret` of S3, or `password` of SFTP."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds that one request may take. Then the source is retried by its policy."""
    archive: Annotated[str, AfterValidator(check_url)] | None = None
    """The URL of the folder for finished files with `drop.after: archive`, on the same file system; by default
    `archive` in the folder of the file."""
