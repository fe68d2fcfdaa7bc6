"""`kill`, `stop` and `start`: break one part and bring it back."""

from orderctl.commands.options import DataDir, Part
from orderctl.modes import current_system
from orderctl.terminal import readable_errors, say


def kill(name: Part, data_dir: DataDir = None) -> None:
    """End one part as a crash would. A service comes back by itself, a broker or store by `start`."""
    with readable_errors():
        say(current_system(data_dir).kill(name))


def stop(name: Part, data_dir: DataDir = None) -> None:
    """End one part gracefully; it stays down until `start` or `up`."""
    with readable_errors():
        say(current_system(data_dir).stop(name))


def start(name: Part, data_dir: DataDir = None) -> None:
    """Start one part; returns once its process runs, and says what it waits for."""
    with readable_errors():
        say(current_system(data_dir).start(name))
