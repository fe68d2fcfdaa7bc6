#!/bin/bash
# As the official image's: root gives its rights away before a server or a tool runs. The tools' own folder is on PATH before
# Debian's wrappers, which would change user and folder once more.
set -euo pipefail
if [[ $1 == rabbitmq* && $(id -u) == 0 ]]; then
    if [[ $1 == rabbitmq-server ]]; then
        find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq '{}' +
    fi
    exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups "$0" "$@"
fi
exec "$@"
