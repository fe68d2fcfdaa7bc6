"""The system of a tree's docker-compose.yml, in a project of its own, as who upgrades it sees it.

Each port of a service is published as a range of two, so that a second container fits beside the first.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orderctl.docker.compose import FILES, PORT_VARIABLES
from orderctl.docker.containers import PROJECT_LABEL, SERVICE_LABEL, docker
from orderctl.docker.engine import label_of
from orderctl.docker.images import PIPELINE_IMAGE, source_digest
from orderctl.docker.provision import BUILD_SECONDS, SOURCE_LABEL
from orderctl.native import postgres
from orderctl.native.ports import EDGE_SETTING, LOOPBACK
from orderctl.native.services import PORTS_BY_SETTING
from orderctl.programs import output_of
from shared.redis.rights import OPERATOR

PASSWORD: Final = "pipeline"
"""What compose gives every login that it is told nothing else about."""
UP_SECONDS: Final = 180
STOP_SECONDS: Final = 90
"""Longer than any part's grace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended after it was asked to, and how long it had; times in seconds."""

    service: str
    exit_code: int
    seconds: float
    grace_seconds: int

    @property
    def is_graceful(self) -> bool:
        """It ended by itself, and well."""
        return self.exit_code == 0 and self.seconds < self.grace_seconds

    def __str__(self) -> str:
        return f"{self.service}: status {self.exit_code} after {self.seconds:.1f} of {self.grace_seconds} s"


def published(first: int) -> Mapping[str, str]:
    """The variables that tell compose its ports, counted from the first: two for each port of a service."""
    told, number = {}, first
    for variable in PORT_VARIABLES:
        if variable != EDGE_SETTING:
            width = 2 if variable in PORTS_BY_SETTING else 1
            told[variable] = f"{number}-{number + 1}" if width > 1 else f"{number}"
            number += width
    return told


def ensure_image(tree: Path, image: str) -> None:
    """Builds a tree's image from locked wheels, unless it is there and of these sources."""
    digest = source_digest(tree)
    if label_of(image, SOURCE_LABEL) == digest:
        return
    environment = {**os.environ, PIPELINE_IMAGE: image, "SOURCE_DIGEST": digest}
    for command in (["deploy/offline/wheels"], ["docker", "compose", "build", "--quiet", "api_gateway"]):
        output_of(
            command,
            seconds=BUILD_SECONDS,
            called=" ".join(command),
            environment=environment,
            folder=tree,
            last_line=True,
        )


class ComposedSystem:
    """One compose project, whose files lie in ``tree``. Every call blocks."""

    def __init__(self, tree: Path, project: str, first_port: int, notifier_log: Path) -> None:
        self.tree = tree
        self.image = ""
        self.gateway_port = 0
        """Where clients find the gateway, whichever container serves it."""
        self._project = project
        self._ports = published(first_port)
        self._notifier_log = notifier_log
        self._followers: list[subprocess.Popen[bytes]] = []

    @property
    def gateway_url(self) -> str:
        """Where orders are placed."""
        return f"http://{LOOPBACK}:{self.gateway_port}"

    @property
    def redis_url(self) -> str:
        """Its store, as an operator reads it."""
        return f"redis://{OPERATOR}:{PASSWORD}@{LOOPBACK}:{self._ports['REDIS_PORT']}/0"

    @property
    def ledger_url(self) -> str:
        """The ledger's database, as the ledger reads it."""
        return postgres.url_of("ledger", PASSWORD, int(self._ports["POSTGRES_PORT"]))

    @property
    def notifier_log(self) -> Path:
        """What all of its notifiers write."""
        return self._notifier_log

    def compose(self, *words: str) -> str:
        """Runs compose on the tree's files as they are now; raises PartFailedError."""
        files = [word for name in FILES for word in ("--file", name)]
        page = f"http://{LOOPBACK}"
        environment = {
            **os.environ,
            **self._ports,
            PIPELINE_IMAGE: self.image,
            "GATEWAY_DASHBOARD_URL": page,
            "DASHBOARD_GATEWAY_URL": page,
        }
        return output_of(
            ["docker", "compose", "--project-name", self._project, *files, *words],
            seconds=UP_SECONDS + STOP_SECONDS,
            called=f"docker compose {words[0]}",
            environment=environment,
            folder=self.tree,
            last_line=True,
        )

    def up(self, *words: str) -> None:
        """Starts what is missing and nothing else, and returns once it is ready."""
        waiting = ("--wait", "--wait-timeout", str(UP_SECONDS))
        self.compose("up", "--detach", "--no-build", "--no-recreate", *waiting, *words)

    def down(self) -> None:
        """Takes everything away again, data included."""
        self.compose("down", "--volumes", "--timeout", "10")
        for follower in self._followers:
            follower.wait()

    def containers(self, service: str | None = None, image: str | None = None) -> list[str]:
        """The ids of those that run, of one service and of one image where they are named."""
        wanted = [f"label={PROJECT_LABEL}={self._project}"]
        wanted += [f"label={SERVICE_LABEL}={service}"] if service else []
        wanted += [f"ancestor={image}"] if image else []
        filters = [word for each in wanted for word in ("--filter", each)]
        return docker("ps", "--quiet", "--no-trunc", *filters).split()

    def port(self, container: str, inside: int) -> int:
        """Where one of a container's ports is published."""
        return int(docker("port", container, str(inside)).partition(":")[2])

    def follow_notifier(self, container: str) -> None:
        """All that it writes, from its beginning to its end, goes to the notifiers' log, line by line."""
        with self._notifier_log.open("ab") as log:
            command = ["docker", "logs", "--follow", container]
            self._followers.append(subprocess.Popen(command, stdout=log, stderr=log))

    def end(self, service: str, container: str) -> Ending:
        """Asks a container to end, and removes it; the engine kills it when its grace is over."""
        grace = docker("inspect", "--format", "{{.Config.StopTimeout}}", container)
        began = time.monotonic()
        output_of(["docker", "stop", container], seconds=STOP_SECONDS, called="docker stop")
        seconds = time.monotonic() - began
        code = docker("inspect", "--format", "{{.State.ExitCode}}", container)
        docker("rm", container)
        return Ending(service=service, exit_code=int(code), seconds=seconds, grace_seconds=int(grace))

    def restarted(self) -> list[str]:
        """The containers that ended by themselves and were started again by the engine."""
        inspected = docker("inspect", "--format", "{{.RestartCount}} {{.Name}}", *self.containers())
        return [line for line in inspected.splitlines() if not line.startswith("0 ")]
