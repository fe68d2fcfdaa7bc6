"""What the engine says of the containers of one compose project."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orderctl.programs import output_of, succeeds

ANSWER_SECONDS = 30.0
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
# What stands between the engine and the process that does the work.
_WRAPPERS = ("docker-init", "tini", "sh", "bash", "rabbitmq-server")
# Ends every process that the container's init looks after; what `docker exec` adds is not among them.
_KILL_INSIDE = (
    'for stat in /proc/[0-9]*/stat; do read -r pid _ _ parent _ <"$stat" || continue; '
    '[ "$parent" != 1 ] || kill -9 "$pid"; done'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container; `health` is empty without a check, `published` are ports on this machine."""

    id: str
    service: str
    running: bool
    health: str
    restarts: int
    init_pid: int
    published: frozenset[int]

    @property
    def healthy(self) -> bool:
        """Running, and ready by the word of its own health check."""
        return self.running and self.health in ("healthy", "")

    def pid(self) -> int | None:
        """The pid of the process that does the work; None where it is no process of this machine."""
        if not self.running or not _is_ours(self.init_pid, self.id):
            return None
        try:
            process = psutil.Process(self.init_pid)
            while process.name() in _WRAPPERS and (children := process.children()):
                process = children[0]
        except psutil.Error:
            return None
        return int(process.pid)


def containers_of(project: str) -> dict[str, Container]:
    """The containers of the project by service, the one that runs where there are several."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label={PROJECT_LABEL}={project}").split()
    if not ids:
        return {}
    found = [_read(each) for each in json.loads(docker("inspect", *ids))]
    return {container.service: container for container in sorted(found, key=lambda each: each.running)}


def kill_inside(container: Container) -> None:
    """SIGKILL to the process inside, so that the restart policy applies; raises PartFailedError."""
    docker("exec", container.id, "sh", "-c", _KILL_INSIDE)


def docker(*words: str) -> str:
    """Run the engine's command and return what it printed; raises PartFailedError with what it said."""
    return output_of(["docker", *words], seconds=ANSWER_SECONDS, called=f"docker {words[0]}")


def write_log(container: Container, path: Path, lines: int) -> None:
    """Copy the end of a container's output into a file, for those who read files."""
    path.unlink(missing_ok=True)
    succeeds(["docker", "logs", "--tail", str(lines), container.id], path, seconds=ANSWER_SECONDS)


def _read(found: Mapping[str, Any]) -> Container:
    state = found["State"]
    bindings: Mapping[str, Sequence[Mapping[str, str]] | None] = found["NetworkSettings"]["Ports"] or {}
    return Container(
        id=found["Id"],
        service=found["Config"]["Labels"][SERVICE_LABEL],
        running=state["Running"] and not state["Restarting"],
        health=state.get("Health", {}).get("Status", ""),
        restarts=found["RestartCount"],
        init_pid=state["Pid"],
        published=frozenset(
            int(binding["HostPort"])
            for each in bindings.values()
            for binding in each or ()
            if binding["HostPort"]
        ),
    )


def _is_ours(pid: int, container_id: str) -> bool:
    """False where the engine runs elsewhere, be it in a virtual machine, and its pids mean nothing here."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
