#!/usr/bin/env -S python3 -I -S
"""The image's health check: whether the service in this container can do its work, by its own word.

A bare socket rather than an HTTP client, because the check runs every few seconds in every container and
importing a client takes longer than asking. Ends with status 1, and says why, unless ``/readyz`` answers 200.
"""

import os
import socket
import sys

TIMEOUT_SECONDS = 2.5


def main() -> int:
    """The exit status."""
    port = os.environ.get("READY_PORT")
    if not port:
        return 0
    try:
        with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError as error:
        sys.stdout.write(f"port {port}: {error}\n")
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    sys.stdout.write(body.decode(errors="replace"))
    return 0 if head.split(b" ", 2)[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
