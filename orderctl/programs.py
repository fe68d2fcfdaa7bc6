"""Programs of this machine, run to their end. What fails raises PartFailedError."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from orderctl.errors import PartFailedError


def output_of(
    command: Sequence[str],
    *,
    seconds: float,
    called: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    last_line: bool = False,
) -> str:
    """What the program printed. The error says what it complained of, or the last line of that."""
    ended = _run(command, called, seconds, environment, folder=folder)
    if ended.returncode:
        said = ended.stderr.strip() or ended.stdout.strip()
        raise PartFailedError(f"{called}: {said.splitlines()[-1] if said and last_line else said}")
    return ended.stdout


def succeeds(
    command: Sequence[str],
    log: Path,
    *,
    seconds: float | None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
) -> bool:
    """Whether the program ends well; all that it prints is added to the log. It inherits the descriptors."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        ended = _run(
            command, command[0], seconds, environment, folder=folder, output=output, descriptors=descriptors
        )
        return ended.returncode == 0


def _run(
    command: Sequence[str],
    called: str,
    seconds: float | None,
    environment: Mapping[str, str] | None,
    *,
    folder: Path | None = None,
    output: IO[bytes] | None = None,
    descriptors: Sequence[int] = (),
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT if output else subprocess.PIPE,
            text=True,
            timeout=seconds,
            check=False,
            pass_fds=descriptors,
        )
    except subprocess.TimeoutExpired as error:
        raise PartFailedError(f"{called}: no answer within {error.timeout:g} s") from error
    except OSError as error:
        raise PartFailedError(f"{called}: {error.strerror or error}") from error
