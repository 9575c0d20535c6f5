#!/bin/bash
# Make the cluster, the user and the database on the first start, as the official image does; then serve.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username "$POSTGRES_USER" --pwfile <(printf '%s' "$POSTGRES_PASSWORD") --auth scram-sha-256
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    # Without TCP until the database exists, so that nobody who waits for the port finds a half-made server.
    pg_ctl --wait -o "-c listen_addresses='' -k /tmp" start
    PGPASSWORD="$POSTGRES_PASSWORD" createdb --host /tmp --username "$POSTGRES_USER" "$POSTGRES_DB" 2> /dev/null \
        || [ "$POSTGRES_DB" = "$POSTGRES_USER" ]
    pg_ctl --wait --mode fast stop
fi
exec postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp
