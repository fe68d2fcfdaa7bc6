#!/bin/bash
# Whether PostgreSQL takes log-ins, and each service has its own: a login and a database for every NAME_DATABASE_PASSWORD in the
# environment, made once per start of the container, so that a service that comes with new code gets them too, and a new password
# counts. The container's health check, for services wait for it.
set -euo pipefail
pg_isready --quiet --host 127.0.0.1 --username postgres
[[ ! -e /tmp/logins-made ]] || exit 0
for variable in $(compgen -e | grep '_DATABASE_PASSWORD$'); do
    service=${variable%_DATABASE_PASSWORD}
    LOGIN_NAME=${service,,} LOGIN_PASSWORD=${!variable} \
        psql --no-psqlrc --quiet --username postgres --dbname postgres --file /etc/order-pipeline/login.sql
done
touch /tmp/logins-made
