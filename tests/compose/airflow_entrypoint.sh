#!/bin/bash
# The part of the official image's entrypoint that docker-compose.yaml relies on: `bash` and `python` run as they are,
# a component waits for the database, and anything else is a command of Airflow with or without the word `airflow`.
set -eu
umask 0002
case "${1:-}" in
    bash | python) exec "$@" ;;
    airflow) shift ;;
esac
case "${1:-}" in
    scheduler | dag-processor | triggerer | api-server)
        for _ in $(seq 20); do
            airflow db check > /dev/null 2>&1 && break
            sleep 3
        done
        ;;
esac
exec airflow "$@"
