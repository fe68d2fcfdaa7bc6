"""A broker, a Redis and a PostgreSQL of the tests' own that take TLS with a client certificate.

They are native processes as ``orderctl`` starts them, each with one more port. The plain ones are the
harness's own, to set them up; no service is told of them.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from orderctl.native import broker_users, postgres, processes, redis as native_redis
from orderctl.native.cluster import NativeCluster
from orderctl.native.ports import LOOPBACK, POSTGRES, REDIS
from shared.redis.rights import OPERATOR
from shared.settings import CommonSettings
from tests.harness.authority import Authority, CertificateFiles
from tests.harness.clusters import free_port_base
from tests.harness.stores import free_port

NODE: Final = "rabbitmq1"
FIRST_PORT_BASE: Final = 26_500
START_SECONDS: Final = 60.0
_DEMANDING: Final = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurePorts:
    """Where TLS is spoken."""

    amqp: int
    management: int
    redis: int


class SecureServers:
    """``authority`` has issued what the servers show, and what they ask of clients."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.authority = authority
        self.ports = SecurePorts(amqp=free_port(), management=free_port(), redis=free_port())
        self.shown = authority.issue("server")
        self.cluster = NativeCluster(
            folder, port_base=free_port_base(FIRST_PORT_BASE), rabbitmq_conf=self._broker_settings()
        )

    def start(self) -> None:
        """Returns once all three take TLS."""
        parts = (NODE, REDIS, POSTGRES)
        for part in parts:
            self.cluster.start_part(part)
        for part in (REDIS, POSTGRES):
            self.cluster.wait_store(part)
        self.show_redis(self.shown)
        self._secure_postgres()
        is_up = processes.wait_until(lambda: bool(self.cluster.seen_by(NODE)), START_SECONDS)
        assert is_up, f"RabbitMQ is not up:\n{self.cluster.layout.log(NODE).read_text()[-2000:]}"
        broker_users.settle(self.cluster.layout, self.cluster.management_url(NODE))

    def stop(self) -> None:
        """Nothing of it is read again."""
        for part in (NODE, REDIS, POSTGRES):
            self.cluster.kill(part)
        self.cluster.stop()
        processes.reap()

    def common(self, service: str) -> CommonSettings:
        """Where a service finds them. Two names of the one node stand for two nodes."""
        layout = self.cluster.layout
        broker = broker_users.url(layout, "amqps", self.ports.amqp, service) + "/"
        management = broker_users.url(layout, "https", self.ports.management)
        return CommonSettings(
            rabbitmq_urls=(broker, broker.replace(LOOPBACK, "localhost")),
            rabbitmq_management_urls=(management,),
            redis_url=self.redis_url(service),
            cache_url=self.redis_url(OPERATOR),
            database_url=f"{self.cluster.database_url(service)}?ssl=verify-full",
            log_format="console",
        )

    def redis_url(self, login: str = OPERATOR) -> str:
        """The store, for one of its logins."""
        plain = urlsplit(native_redis.url(self.cluster.layout, self.ports.redis, login))
        return plain._replace(scheme="rediss").geturl()

    def show_redis(self, shown: CertificateFiles) -> None:
        """Redis shows this certificate from now on."""
        settings = {
            "tls-cert-file": shown.certificate,
            "tls-key-file": shown.key,
            "tls-ca-cert-file": self.authority.file,
            "tls-auth-clients": "yes",
            "tls-port": self.ports.redis,
        }
        words = [str(word) for pair in settings.items() for word in pair]
        answer = native_redis.ask(self.cluster.redis_url, "CONFIG", "SET", *words)
        assert answer.startswith("+OK"), answer

    def _broker_settings(self) -> dict[str, str]:
        files = {
            "cacertfile": str(self.authority.file),
            "certfile": str(self.shown.certificate),
            "keyfile": str(self.shown.key),
            "verify": "verify_peer",
            "fail_if_no_peer_cert": "true",
        }
        return {
            "listeners.ssl.1": f"{LOOPBACK}:{self.ports.amqp}",
            "management.ssl.ip": LOOPBACK,
            "management.ssl.port": str(self.ports.management),
            **{f"ssl_options.{name}": value for name, value in files.items()},
            **{f"management.ssl.{name}": value for name, value in files.items()},
        }

    def _secure_postgres(self) -> None:
        layout, port = self.cluster.layout, self.cluster.ports[POSTGRES]
        data = layout.part(POSTGRES) / "data"
        owner = data.stat()
        files = {
            "server.crt": self.shown.certificate,
            "server.key": self.shown.key,
            "ca.crt": self.authority.file,
        }
        for name, source in files.items():
            place = data / name
            place.touch(mode=0o600)
            place.write_bytes(source.read_bytes())
            os.chown(place, owner.st_uid, owner.st_gid)
        rules = data / "pg_hba.conf"
        rules.write_text(_DEMANDING + rules.read_text())
        settings = {"ssl": "on", "ssl_ca_file": "ca.crt"}
        for name, value in settings.items():
            postgres.psql(layout, port, "--command", f"ALTER SYSTEM SET {name} = '{value}'")
        postgres.psql(layout, port, "--command", "SELECT pg_reload_conf()")


@contextmanager
def secure_servers() -> Iterator[SecureServers]:
    """Started, and ended after the block."""
    with tempfile.TemporaryDirectory(prefix="orders-tls-", ignore_cleanup_errors=True) as folder:
        servers = SecureServers(Path(folder, "system"), Authority(Path(folder, "authority")))
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
