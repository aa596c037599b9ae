import asyncio
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from services.standalone.embedded import kafka
from services.standalone.embedded.aot_cache import aot_cache
from services.standalone.embedded.kafka import KafkaOptions, KafkaServer
from services.standalone.embedded.process import ServerFailed, ServerMissing
from tests.servers.processes import ended

TOPIC = "kept"

# Starts a broker, says its process id, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from services.standalone.embedded.kafka import KafkaOptions, KafkaServer
server = KafkaServer(KafkaOptions(Path(sys.argv[1]), Path(sys.argv[2])))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


async def produce(server: KafkaServer, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, acks="all") as producer:
        await producer.send_and_wait(TOPIC, value, partition=0)


async def first_value(server: KafkaServer) -> bytes | None:
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=server.bootstrap, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), 60)
        value: bytes | None = record.value
        return value


async def test_keeps_records_and_address_over_a_kill(own_kafka: KafkaServer) -> None:
    address = own_kafka.bootstrap
    await produce(own_kafka, b"seven")
    assert await first_value(own_kafka) == b"seven"
    own_kafka.kill()
    await asyncio.to_thread(own_kafka.start)
    assert own_kafka.bootstrap == address
    assert await first_value(own_kafka) == b"seven"


async def test_keeps_records_over_a_restart_and_stops_without_a_trace(own_kafka: KafkaServer) -> None:
    await produce(own_kafka, b"seven")
    await asyncio.to_thread(own_kafka.restart)
    assert await first_value(own_kafka) == b"seven"
    pid = own_kafka.pid
    await asyncio.to_thread(own_kafka.stop)
    assert not own_kafka.running
    assert ended(pid)


async def test_does_not_respond_while_paused_and_continues_afterwards(own_kafka: KafkaServer) -> None:
    await produce(own_kafka, b"seven")
    own_kafka.pause()
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=own_kafka.bootstrap, request_timeout_ms=500)
    with pytest.raises(KafkaError):
        await consumer.start()
    await consumer.stop()
    own_kafka.resume()
    assert await first_value(own_kafka) == b"seven"


def test_listens_on_the_loopback_alone(own_kafka: KafkaServer) -> None:
    sockets = psutil.Process(own_kafka.pid).net_connections()
    # Java writes 127.0.0.1 as an IPv6 address.
    addresses = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_java_uses_what_it_learned_from_an_earlier_start(own_kafka: KafkaServer, kafka_jars: Path) -> None:
    cache = aot_cache(kafka.find_java(), kafka_jars)
    if cache is None:
        pytest.skip("this Java keeps nothing")
    assert str(cache) in Path(f"/proc/{own_kafka.pid}/maps").read_text()


def test_a_cache_that_java_does_not_accept_prevents_no_start(kafka_jars: Path, tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    jars.mkdir()
    for jar in kafka_jars.glob("*.jar"):
        (jars / jar.name).symlink_to(jar)
    cache = aot_cache(kafka.find_java(), jars)
    if cache is None:
        pytest.skip("this Java keeps nothing")
    cache.write_bytes(b"nonsense" * 1000)
    server = KafkaServer(KafkaOptions(tmp_path, jars))
    server.start()
    server.kill()


def test_ends_when_its_owner_is_killed(kafka_jars: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), str(kafka_jars)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    assert ended(pid)


def test_a_broker_that_does_not_start_shows_its_log(kafka_jars: Path, tmp_path: Path) -> None:
    options = KafkaOptions(tmp_path, kafka_jars, settings={"log.retention.bytes": "many"})
    with pytest.raises(ServerFailed, match=r"log\.retention\.bytes"):
        KafkaServer(options).start()


def test_starts_with_any_cluster_name(kafka_jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name of 64 begins with a dash, as options do."""
    monkeypatch.setattr(secrets, "token_bytes", lambda size: b"\xfb" * size)
    server = KafkaServer(KafkaOptions(tmp_path, kafka_jars))
    server.start()
    server.kill()
    assert "cluster.id=-_v7" in (tmp_path / "data" / "meta.properties").read_text()


def test_without_java_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServerMissing, match="default-jre-headless"):
        kafka.find_java()


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setattr(kafka, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing, match="Kafka needs Java 17"):
        kafka.find_java()
