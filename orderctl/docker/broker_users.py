"""What lets the services in at the brokers in containers: run once, when the nodes run together.

Each password is a variable; so is where the brokers are, with the operator's log-in.
"""

import os
import sys
import time
from typing import Final

from shared.messaging.rabbitmq.management import ManagementUnavailable
from shared.messaging.rabbitmq.rights import USERS, admit

PASSWORD_VARIABLES: Final = {user: f"{user.upper()}_BROKER_PASSWORD" for user in USERS}
PATIENCE_SECONDS: Final = 60.0


def main() -> int:
    """The exit status."""
    passwords = {user: os.environ[PASSWORD_VARIABLES[user]] for user in USERS}
    urls = os.environ["RABBITMQ_MANAGEMENT_URLS"].split(",")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for url in urls:
            try:
                admit(url, passwords)
            except ManagementUnavailable as error:
                sys.stderr.write(f"{error}\n")
            else:
                return 0
        if time.monotonic() > deadline:
            return 1
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
