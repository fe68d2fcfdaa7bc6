"""The logs of several parts as one stream, oldest part of each first."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from rich.text import Text

from orderctl.native.layout import tail
from orderctl.terminal import out, shown

POLL_SECONDS = 0.3
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def show_tail(files: Mapping[str, Path], lines: int) -> None:
    """The last lines of each file."""
    for name, path in files.items():
        for line in tail(path, lines) if lines else []:
            _show(name, line, files)


def follow(files: Mapping[str, Path], lines: int) -> None:
    """The last lines of each file, then whatever is added, until interrupted."""
    streams = {name: _at_end(path) for name, path in files.items()}
    show_tail(files, lines)
    rest = dict.fromkeys(files, b"")
    try:
        while True:
            for name, stream in streams.items():
                *complete, rest[name] = (rest[name] + stream.read()).split(b"\n")
                for line in complete:
                    _show(name, line.decode("utf-8", "replace"), files)
                if _was_replaced(stream, files[name]):
                    stream.close()
                    streams[name] = files[name].open("rb")
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        for stream in streams.values():
            stream.close()


def _at_end(path: Path) -> BinaryIO:
    stream = path.open("rb")
    stream.seek(0, 2)
    return stream


def _was_replaced(stream: BinaryIO, path: Path) -> bool:
    """True once a restart has rotated the log away under the stream."""
    return path.exists() and path.stat().st_size < stream.tell()


def _show(name: str, line: str, files: Mapping[str, Path]) -> None:
    if len(files) == 1:
        out.print(shown(line))
        return
    colour = _COLOURS[list(files).index(name) % len(_COLOURS)]
    out.print(Text.assemble((f"{name:<16}", colour), shown(line)))
