"""A real Kafka broker on this machine: one node, loopback, its data in a temporary directory.

`python -m kit.broker` (with tests/ on PYTHONPATH) starts one, prints HOST:PORT and runs until SIGTERM or Ctrl-C.
It needs a JDK (17 or newer) and Maven; the server's jars are copied once, into .cache, from where Maven finds them.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

POM = Path(__file__).with_name("kafka") / "pom.xml"
CACHE = Path(__file__).parents[2] / ".cache"
START_TIMEOUT_S = 90.0
_STARTED = "Kafka Server started"

_PROTOCOLS = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT"
_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # A killed broker is not let in again before its session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "300",
    "auto.create.topics.enable": "false",
    "min.insync.replicas": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # With KIP-848 the timeouts of members are the broker's.
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "300",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "message.max.bytes": str(8 * 1024 * 1024),
}
_LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="console"><PatternLayout pattern="%d %p %c: %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Root level="WARN"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"""


class BrokerFailed(Exception):
    """The broker could not be made or started."""


class Broker:
    """One broker process. Its port and its data stay the same over `stop`, `kill` and `restart`; `close` deletes the data."""

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        doors: int = 0,
        environment: Mapping[str, str] = {},
        *,
        is_for_long: bool = False,
        node_id: int = 1,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="perdure-broker-"))
        self.port, self.controller_port, *ports = free_ports(2 + 2 * doors)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.node_id = node_id
        self.voter = f"{node_id}@127.0.0.1:{self.controller_port}"
        """This node as one that votes for the controller."""
        self.voters: tuple[str, ...] = (self.voter,)
        """All nodes that vote: this one alone, unless a cluster says otherwise before the first start."""
        self.cluster_id = new_cluster_id()
        self.doors = tuple(zip(ports[:doors], ports[doors:], strict=True))
        """Further listeners: the port on which the broker listens, and the one that it tells its clients, for a proxy between the two."""
        self.settings = dict(settings or {})
        """Of the server, beside or instead of ours; read at the first start."""
        self.environment = {**os.environ, **environment}
        self.is_for_long = is_for_long
        """Whether what Java's second compiler costs is worth it. A test ends before: without it a broker needs half the CPU time."""
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    def start(self) -> Broker:
        """Start it and wait until it serves."""
        self.launch()
        self.wait_until_started()
        return self

    def launch(self) -> None:
        """Start it without waiting: a node of a cluster serves only once most of the others are there."""
        if self._process is not None:
            raise BrokerFailed("this broker is running already")
        jars = server_jars()
        if not (self.directory / "data").exists():
            self._format(jars)
        output = self._output.open("ab")
        self._said_before = output.tell()
        with output:
            # A session of its own: Ctrl-C is for the tests, which then stop the broker.
            self._process = subprocess.Popen(
                [*self._java(jars), "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self.environment,
            )
        # Whatever becomes of this process, its end closes the pipe, and the broker does not outlive it.
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read _; kill -9 "$0"', str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def stop(self) -> None:
        """End it in order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again, after `stop` or `kill` or instead of `stop`."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Stop it where it is (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def fill_disk(self, file_bytes: int) -> None:
        """Let no file of the running broker grow beyond a size, until it is started again: to it, the disk is full."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _output(self) -> Path:
        return self.directory / "broker.log"

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _format(self, jars: Path) -> None:
        names = [f"DOOR{number}" for number in range(len(self.doors))]
        behind = [f"{name}://127.0.0.1:{port}" for name, (port, _) in zip(names, self.doors, strict=True)]
        told = [f"{name}://127.0.0.1:{port}" for name, (_, port) in zip(names, self.doors, strict=True)]
        settings = {
            **_SETTINGS,
            "node.id": str(self.node_id),
            "listener.security.protocol.map": ",".join([_PROTOCOLS, *(f"{name}:PLAINTEXT" for name in names)]),
            "listeners": ",".join([f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://127.0.0.1:{self.controller_port}", *behind]),
            "advertised.listeners": ",".join([f"PLAINTEXT://{self.bootstrap}", *told]),
            "controller.quorum.voters": ",".join(self.voters),
            "log.dirs": str(self.directory / "data"),
            **self.settings,
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        (self.directory / "log4j2.xml").write_text(_LOGGING, encoding="utf-8")
        command = [*self._java(jars), "kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id}", "-c", str(self._properties)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        if done.returncode:
            raise BrokerFailed(f"the broker's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def _java(self, jars: Path) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise BrokerFailed(
                "the broker needs a JDK (17 or newer): no `java` was found. Or name a running one: PERDURE_TEST_KAFKA=host:port"
            )
        options = ["-Xmx768m", "-Xss512k", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]
        options += [] if self.is_for_long else ["-XX:TieredStopAtLevel=1"]
        return [java, *options, f"-Dlog4j2.configurationFile={self.directory / 'log4j2.xml'}", "-cp", f"{jars}/*"]

    def wait_until_started(self) -> None:
        """Wait until it serves, behind `launch`. Raises BrokerFailed."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with self._output.open("rb") as output:
                output.seek(self._said_before)
                said = output.read().decode(errors="replace")
            if _STARTED in said:
                return
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise BrokerFailed(f"the broker {'ended' if ended else 'did not start in time'}; it said:\n{said[-4000:]}")
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise BrokerFailed("this broker is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.kill()
            watcher.communicate()
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a suspended one would not hear SIGTERM
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def new_cluster_id() -> str:
    """A random id in the form that Kafka wants: sixteen bytes as base64 for addresses."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def server_jars() -> Path:
    """The directory with the server's jars, filled by Maven once for each version of the pom."""
    target = CACHE / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    if target.exists():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerFailed("the broker needs Maven: no `mvn` was found. Or name a running one: PERDURE_TEST_KAFKA=host:port")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="kafka-") as filling:
        jars = Path(filling) / "jars"
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise BrokerFailed(f"Maven could not bring the broker's jars:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        if not target.exists():  # another process may have been faster
            jars.rename(target)
    return target


@contextmanager
def running_broker(*, is_for_long: bool = False) -> Iterator[str]:
    """HOST:PORT of the broker that PERDURE_TEST_KAFKA names, or of one that runs as long as this does."""
    given = os.environ.get("PERDURE_TEST_KAFKA")
    if given:
        yield given
        return
    broker = Broker(is_for_long=is_for_long)
    try:
        yield broker.start().bootstrap
    finally:
        broker.close()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def main() -> int:
    """Run a broker until told to end."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with running_broker(is_for_long=True) as bootstrap:
        print(bootstrap, flush=True)
        while not told.wait(0.5):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
