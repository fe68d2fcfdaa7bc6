#!/bin/bash
# A login and a database for each service whose password the environment has as NAME_DATABASE_PASSWORD. The image runs this when
# the volume is made; run it again for a service that came later: docker compose exec postgres bash /docker-entrypoint-initdb.d/logins.sh
set -euo pipefail
for variable in $(compgen -e | grep '_DATABASE_PASSWORD$'); do
    service=${variable%_DATABASE_PASSWORD}
    LOGIN_NAME=${service,,} LOGIN_PASSWORD=${!variable} \
        psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres --file /etc/order-pipeline/login.sql
done
