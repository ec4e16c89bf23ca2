"""A genuine Kafka broker for scenario tests: one node in KRaft mode, on free ports of the loopback.

`python -m tests.servers.kafka` fetches its jars with Maven into a folder outside the checkout, once, and
verifies their checksums; `LENDSIGNAL_TEST_MAVEN` names another repository for that than Maven's own.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from tests.servers.daemon import free_port
from tests.servers.network import Machine

HERE = Path(__file__).parent / "kafka_jars"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
INSTALL = "bash tests/servers/install.sh"

PATIENCE = 180.0
"""Seconds in which a broker that is going to answer has answered."""

WRITER, READER = "writer", "reader"
"""Who may sign in on the `SASL` and `TLS` ports: the writer may do everything, the reader nothing."""

PASSWORDS = {WRITER: "made-up-kafka-password-1", READER: "made-up-kafka-password-2"}

PROPERTIES = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAIN://{host}:{plain},SASL://{host}:{sasl},TLS://{host}:{tls},INNER://{host}:{controller}
listener.security.protocol.map=PLAIN:PLAINTEXT,INNER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL
controller.listener.names=INNER
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={users}
listener.name.tls.plain.sasl.jaas.config={users}
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:writer
log.dirs={folder}/log
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=1500
auto.create.topics.enable=false
"""


class Broker:
    """A broker over a folder of its own; it keeps its ports and its messages over a restart.

    `number` counts from 1; `controllers` are the addresses at which brokers of one cluster agree, of all of
    them. It is here, or on a `machine` of its own.
    """

    def __init__(
        self,
        folder: Path,
        jars: Path,
        number: int = 1,
        controllers: Sequence[str] = (),
        machine: Machine | None = None,
    ) -> None:
        self._folder = folder
        self.machine = machine
        self.host = "127.0.0.1" if machine is None else machine.address
        self._jars = jars
        agreeing = list(controllers) or [f"{self.host}:{free_port()}"]
        self._ports = {name: free_port() for name in ("plain", "sasl", "tls")}
        self._ports["controller"] = int(agreeing[number - 1].rpartition(":")[2])
        self._process: subprocess.Popen[bytes] | None = None
        self.ca = folder / "ca.pem"
        _make_certificate(folder)
        known = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
        users = f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
        self._properties = folder / "server.properties"
        voters = ",".join(f"{n}@{address}" for n, address in enumerate(agreeing, 1))
        self._properties.write_text(
            PROPERTIES.format(
                folder=folder,
                users=users,
                number=number,
                voters=voters,
                copies=len(agreeing),
                host=self.host,
                **self._ports,
            )
        )
        words = ("format", "--cluster-id", "bGVuZHNpZ25hbC10ZXN0cw", "--config", str(self._properties))
        self._java("kafka.tools.StorageTool", *words).wait(PATIENCE)

    @property
    def address(self) -> str:
        """Where it answers anybody."""
        return f"{self.host}:{self._ports['plain']}"

    @property
    def sasl_address(self) -> str:
        """Where it answers those who sign in."""
        return f"{self.host}:{self._ports['sasl']}"

    @property
    def tls_address(self) -> str:
        """Where it answers those who sign in, over TLS with a certificate signed by `ca`."""
        return f"{self.host}:{self._ports['tls']}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None

    @property
    def said(self) -> str:
        """Everything on standard output and standard error."""
        return (self._folder / "said").read_text()

    def start(self) -> "Broker":
        """Starts it and returns when it answers for its metadata."""
        self.begin()
        return self.answering()

    def begin(self) -> None:
        """Starts it; of several, the first cannot answer before another one is there."""
        self._process = self._java("kafka.Kafka", str(self._properties))

    def answering(self) -> "Broker":
        """Returns when it answers for its metadata."""
        from confluent_kafka import KafkaException

        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self._process.poll() is None, self.said
            try:
                if self._admin().list_topics(timeout=2).brokers:
                    return self
            except KafkaException:
                continue
        raise AssertionError(f"the broker does not answer: {self.said[-2000:]}")

    def kill(self) -> None:
        """`kill -9`: what it had not said is never said."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was frozen."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def make_topic(self, name: str, *, partitions: int = 1, **config: str) -> str:
        """A topic, once the broker says that it is there; `max_message_bytes` for `max.message.bytes`."""
        from confluent_kafka.cimpl import NewTopic

        named = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=named)
        admin = self._admin()
        admin.create_topics([topic])[name].result(PATIENCE)
        return name

    def let_see(self, user: str, topic: str) -> None:
        """That user may ask for the topic, and neither read nor write it."""
        from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
        from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

        resource = ResourceType.TOPIC, topic, ResourcePatternType.LITERAL
        acl = AclBinding(*resource, f"User:{user}", "*", AclOperation.DESCRIBE, AclPermissionType.ALLOW)
        admin = self._admin()
        admin.create_acls([acl])[acl].result(PATIENCE)

    def produce(self, topic: str, *values: bytes | None, key: bytes | None = None, **words: Any) -> None:
        """Puts messages into a topic and returns when they are there."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "acks": "all"})
        for value in values:
            producer.produce(topic, value, key=key, **words)
        assert producer.flush(PATIENCE) == 0

    def messages(self, topic: str) -> list[Any]:
        """Everything in a topic, read from the beginning of every partition to its end."""
        from confluent_kafka import Consumer, TopicPartition

        settings = {"bootstrap.servers": self.address, "group.id": "look", "enable.auto.commit": False}
        consumer = Consumer(settings)
        found: list[Any] = []
        try:
            for partition in consumer.list_topics(topic, PATIENCE).topics[topic].partitions:
                start, end = _reach(consumer, TopicPartition(topic, partition, 0))
                consumer.assign([TopicPartition(topic, partition, start)])
                while start < end:
                    message = consumer.poll(PATIENCE)
                    assert message is not None, "the topic cannot be read"
                    assert message.error() is None, message.error()
                    found.append(message)
                    start = (message.offset() or 0) + 1
        finally:
            consumer.close()
        return found

    def committed(self, group: str, topic: str) -> int:
        """How many messages of a topic the group has committed, over all partitions."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group})
        try:
            partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
            found = consumer.committed([TopicPartition(topic, one) for one in partitions], PATIENCE)
            return sum(max(0, one.offset) for one in found)
        finally:
            consumer.close()

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        # What a broker that starts does not answer yet is no news.
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _java(self, *words: str) -> "subprocess.Popen[bytes]":
        """A Java program with the jars, which ends when the test's process ends, however it ends."""
        memory = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        with (self._folder / "said").open("ab") as said:
            return subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *([] if self.machine is None else self.machine.words),
                    "java",
                    *memory,
                    logging,
                    "-cp",
                    f"{self._jars}/*",
                    *words,
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


class Brokers:
    """Brokers of one cluster: each topic is on all of them where it says so."""

    def __init__(self, all_: Sequence[Broker]) -> None:
        self.all = tuple(all_)

    @property
    def address(self) -> str:
        """Where they answer anybody, one after the other with commas between."""
        return ",".join(one.address for one in self.all)


@contextmanager
def brokers(count: int, machine: Callable[[], Machine | None] = lambda: None) -> Iterator[Brokers]:
    """So many brokers of one cluster while the block runs; skips loudly where they are not installed.

    Each is on a `machine` of its own, where there are any.
    """
    _skip_where_missing()
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
        machines = [machine() for _ in range(count)]
        hosts = ["127.0.0.1" if one is None else one.address for one in machines]
        controllers = [f"{host}:{free_port()}" for host in hosts]
        made: list[Broker] = []
        try:
            for number in range(1, count + 1):
                own = Path(folder) / str(number)
                own.mkdir()
                made.append(Broker(own, jars_folder(), number, controllers, machines[number - 1]))
            for one in made:
                one.begin()
            yield Brokers([one.answering() for one in made])
        finally:
            for one in made:
                one.close()


def _skip_where_missing() -> None:
    missing = [program for program in ("java", "setpriv") if shutil.which(program) is None]
    if missing or not _are_whole(jars_folder()):
        pytest.skip(f"no Kafka broker here: {INSTALL}")


@contextmanager
def kafka() -> Iterator[Broker]:
    """A broker while the block runs; skips loudly where it is not installed."""
    _skip_where_missing()
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
        broker = Broker(Path(folder), jars_folder())
        try:
            yield broker.start()
        finally:
            broker.close()


def jars_folder() -> Path:
    """Where the jars are kept: outside the checkout, a folder for each list of them."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    listed = sha256((HERE / "sha256sums").read_bytes()).hexdigest()[:12]
    return Path(cache) / "lendsignal-tests" / f"kafka-{listed}"


def _reach(consumer: Any, partition: Any) -> tuple[int, int]:
    """The first offset of a partition and the one after its last.

    A broker that was frozen may have to become the leader of its own partitions again first.
    """
    from confluent_kafka import KafkaException

    breath, until = threading.Event(), time.monotonic() + PATIENCE
    while True:
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(partition, PATIENCE)
            return found
        except KafkaException:
            if time.monotonic() > until:
                raise
        breath.wait(0.1)


def fetch(into: Path) -> None:
    """Fetches the jars with Maven; they stand in `into` only when every checksum is right."""
    if _are_whole(into):
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        place = Path(folder) / "jars"
        settings = _maven_settings(Path(folder))
        words = ["mvn", "-q", "-B", "-C", *settings, "-f", str(HERE / "pom.xml"), PLUGIN]
        subprocess.run(
            [*words, f"-DoutputDirectory={place}", "-DincludeScope=runtime"], check=True, timeout=500
        )
        wrong = _wrong(place)
        if wrong:
            raise SystemExit(f"the checksum of {', '.join(wrong)} is not the one that is listed")
        shutil.rmtree(into, ignore_errors=True)
        place.rename(into)


def _maven_settings(folder: Path) -> Sequence[str]:
    """Maven's words for another repository than its own, where the environment names one."""
    mirror = os.environ.get("LENDSIGNAL_TEST_MAVEN")
    if mirror is None:
        return ()
    where = f"<id>mirror</id><mirrorOf>*</mirrorOf><url>{escape(mirror)}</url>"
    path = folder / "settings.xml"
    path.write_text(f"<settings><mirrors><mirror>{where}</mirror></mirrors></settings>")
    return ("-s", str(path))


def _listed() -> Mapping[str, str]:
    lines = (HERE / "sha256sums").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _wrong(folder: Path) -> list[str]:
    """The jars that are missing or not what the list says."""

    def digest(path: Path) -> str:
        return sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    return [name for name, listed in _listed().items() if digest(folder / name) != listed]


def _are_whole(folder: Path) -> bool:
    """Whether every jar is there: a folder appears only with all of them verified."""
    return all((folder / name).exists() for name in _listed())


def _make_certificate(folder: Path) -> None:
    """A key and a certificate for 127.0.0.1 that signs itself: `server.pem` for the broker, `ca.pem`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kafka.test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)


if __name__ == "__main__":
    fetch(jars_folder())
