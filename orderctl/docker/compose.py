"""The compose project of one data folder, and the environment in which compose reads its files."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from orderctl.docker.broker_users import PASSWORD_VARIABLES
from orderctl.docker.images import source_digest
from orderctl.environment import operator_settings
from orderctl.errors import PartFailedError
from orderctl.native import broker_users, redis
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import EDGE, EDGE_SETTING, NODE_NAMES, REDIS, STORES, Ports
from orderctl.native.secrets import Secrets, operator_setting
from orderctl.native.services import PORTS_BY_SETTING
from orderctl.programs import output_of
from shared.redis.rights import OPERATOR, users_of

FILES = ("docker-compose.yml", "deploy/docker-compose.orderctl.yml")
EDGE_FILE = "deploy/docker-compose.edge.yml"
PROJECT = "order-pipeline"
PROJECT_VARIABLE = "COMPOSE_PROJECT_NAME"
TOKEN_VARIABLE = "DASHBOARD_TOKEN"  # noqa: S105 - the name of a variable
ANSWER_SECONDS = 120.0
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # nosec B104 - what compose means where a port names no address

PORT_VARIABLES: Mapping[str, str] = {
    **{f"{node.upper()}_PORT": f"{node}.amqp" for node in NODE_NAMES},
    **{f"{node.upper()}_MANAGEMENT_PORT": f"{node}.management" for node in NODE_NAMES},
    **{f"{store.upper()}_PORT": store for store in STORES},
    **PORTS_BY_SETTING,
    EDGE_SETTING: EDGE,
}
"""Each variable through which compose is told a port, with the name of that port."""
SECRETS: Mapping[str, str] = {
    "ERLANG_COOKIE": "rabbitmq.cookie",
    **{variable: broker_users.secret(user) for user, variable in PASSWORD_VARIABLES.items()},
    **{
        f"{login.upper()}_REDIS_PASSWORD".removeprefix(f"{OPERATOR.upper()}_"): redis.secret(login)
        for login in users_of(REDIS)
    },
}
"""Each variable through which compose is told a secret, with its name in the data folder. Those of the
operators of brokers and PostgreSQL are not among them: they count when a volume is made, which may be older
than the folder."""


def ports_of_part(part: str) -> tuple[str, ...]:
    """The names of the ports that one part publishes."""
    return tuple(port for port in PORT_VARIABLES.values() if port.partition(".")[0] == part)


class Compose:
    """Runs `docker compose` for one data folder; a folder of its own means a project of its own."""

    def __init__(self, layout: Layout, ports: Ports, *, is_default: bool) -> None:
        self._layout = layout
        self._ports = ports
        folder = hashlib.sha256(str(layout.data_dir).encode()).hexdigest()[:10]
        usual = os.environ.get(PROJECT_VARIABLE) or PROJECT
        self.project = usual if is_default else f"{PROJECT}-{folder}"

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        named = (*FILES, EDGE_FILE) if self.has_edge else FILES
        files = [word for file in named for word in ("--file", str(project_root() / file))]
        return ["docker", "compose", "--project-name", self.project, *files, *words]

    @property
    def has_edge(self) -> bool:
        """Whether the edge belongs to the project, since `add_edge`."""
        return self._layout.part(EDGE).is_dir()

    def add_edge(self) -> None:
        """The project has it from now on, until its data folder is wiped."""
        self._layout.part(EDGE).mkdir(mode=0o700, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """What compose reads: the settled ports, and the token, whatever `.env` says of them."""
        ports = {variable: str(self._ports[port]) for variable, port in PORT_VARIABLES.items()}
        source = {"SOURCE_DIGEST": source_digest(project_root())}
        return {
            **os.environ,
            **ports,
            **source,
            TOKEN_VARIABLE: self.token() or "",
            **operator_setting(self._layout),
            **self.secrets(),
            "COMPOSE_PROGRESS": "plain",
            "COMPOSE_ANSI": "auto" if sys.stdout.isatty() else "never",
        }

    def run(self, *words: str) -> str:
        """Run to the end and return what it printed; raises PartFailedError with what it said."""
        return output_of(
            self.command(*words),
            seconds=ANSWER_SECONDS,
            environment=self.environment(),
            called=f"docker compose {words[0]}",
            last_line=True,
        )

    def start(self, log: IO[bytes], *words: str) -> "subprocess.Popen[bytes]":
        """Run in the background, with everything that it prints in a log."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def images(self) -> list[str]:
        """Every image that the project runs."""
        return sorted(set(self.run("config", "--images").split()))

    def published_on(self, service: str) -> list[str]:
        """The addresses on which a service's ports are published; none where compose cannot tell."""
        try:
            described = json.loads(self.run("config", "--format", "json"))
        except (PartFailedError, ValueError):
            return []
        ports = described["services"][service].get("ports", ())
        return [port.get("host_ip") or ANY_ADDRESS for port in ports]

    # --- secrets -----------------------------------------------------------------------------------------

    def secrets(self) -> dict[str, str]:
        """What was made, or chosen by the operator, when the folder's system was brought up; the rest has
        the defaults of compose."""
        made = Secrets(self._layout)
        return {variable: secret for variable, name in SECRETS.items() if (secret := made.get(name))}

    def ensure_secrets(self) -> None:
        """Note what the operator chose, and make the others once."""
        chosen = operator_settings()
        made = Secrets(self._layout)
        made.keep({name: chosen[variable] for variable, name in SECRETS.items() if chosen.get(variable)})
        made.ensure(SECRETS.values())

    # --- the token ---------------------------------------------------------------------------------------

    def token(self) -> str | None:
        """What the dashboard wants before it shows dead letters: chosen by the operator, or made by us."""
        chosen = operator_settings().get(TOKEN_VARIABLE)
        if chosen:
            return chosen
        return self._token_file.read_text(encoding="ascii") if self._token_file.is_file() else None

    def ensure_token(self) -> None:
        """Make a token once per data folder where the operator chose none."""
        if self.token() is None:
            self._token_file.touch(mode=0o600)
            self._token_file.write_text(secrets.token_urlsafe(24), encoding="ascii")

    @property
    def _token_file(self) -> Path:
        return self._layout.data_dir / "dashboard-token"
