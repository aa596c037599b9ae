"""Paths that are URLs: what the settings accept and refuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.remote.opening import stable_seconds
from services.system_api.sources.file.remote_options import file_system_of, path_in, scheme_of

S3 = {"kind": "file", "path": "s3://bucket/in/*.csv", "mode": "drop", "type": "order.updated", "subject": "id"}


@pytest.mark.parametrize(
    ("url", "scheme", "path"),
    [
        ("s3://bucket/in/*.csv", "s3", "/bucket/in/*.csv"),
        ("sftp://host:2222/in/*.csv", "sftp", "/in/*.csv"),
        ("memory://in/a.csv", "memory", "/in/a.csv"),
    ],
)
def test_a_url_names_a_path_on_its_file_system(url: str, scheme: str, path: str) -> None:
    assert (scheme_of(url), path_in(url)) == (scheme, path)
    assert FileSourceOptions.model_validate(S3 | {"path": url}).path == url


def test_a_local_path_has_no_scheme() -> None:
    assert scheme_of("/in/*.csv") is None
    assert file_system_of("s3://a/b") == file_system_of("s3://c")
    assert file_system_of("sftp://a/b") != file_system_of("sftp://c/b")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"mode": "tail"}, "mode: files of s3:// cannot be followed while they grow; set mode: drop"),
        (
            {"path": "https://host/in.csv"},
            "found https://; expected a local path, or a URL of s3, sftp, memory,",
        ),
        ({"path": "file:///in.csv"}, "found file://"),
        ({"path": "s3:///in.csv"}, "found no bucket in 's3:///in.csv'"),
        ({"path": "sftp:///in.csv"}, "found no host"),
        ({"path": "sftp://me:secret@host/in.csv"}, "found a user in the URL; set remote.options.username instead"),
        ({"path": "sftp://host:ssh/in.csv"}, "found port 'ssh' in 'sftp://host:ssh/in.csv'; expected a number"),
        ({"path": "sftp://host:/in.csv"}, "found port ''"),
        ({"path": "sftp://host:0/in.csv"}, "found port '0'"),
        ({"path": "sftp://host:65536/in.csv"}, "found port '65536'"),
        ({"path": "s3://bucket/in/", "format": "csv"}, "found the folder s3://bucket/in/"),
        ({"remote": {"archive": "/done"}}, "found /done; expected a URL of s3, sftp"),
        ({"path": "s3://bucket/[in.csv"}, "is not closed"),
        ({"path": "in.csv", "remote": {}}, "remote: the path is local"),
        ({"drop": {"receipt": True}}, "drop.receipt: the path is a URL; remove drop.receipt"),
        ({"drop": {"archive": "done"}}, "drop.archive: the path is a URL; set remote.archive"),
        (
            {"remote": {"archive": "sftp://host/done"}},
            "remote.archive: found another file system; expected",
        ),
        ({"remote": {"archive": "s3://bucket/in/"}}, "remote.archive: found the folder of path"),
        ({"remote": {"archive": "done"}}, "found done; expected a URL of s3, sftp"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FileSourceOptions.model_validate(S3 | given)
    assert error in str(caught.value)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "drop", "seconds"),
    [
        ("s3://bucket/*.csv", {}, 0),
        ("sftp://host/*.csv", {}, 60),
        ("sftp://host/*.csv", {"stable_seconds": 5}, 5),
        ("sftp://host/*.csv", {"stable_seconds": 0}, 2),
        ("sftp://host/*.csv", {"ready": "renamed"}, 2),
        ("s3://bucket/*.csv", {"ready": "done-file"}, 0),
    ],
)
def test_a_file_on_a_server_must_not_change_for_a_while(path: str, drop: dict[str, Any], seconds: float) -> None:
    assert stable_seconds(FileSourceOptions.model_validate(S3 | {"path": path, "drop": drop})) == seconds
