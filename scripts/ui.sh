#!/usr/bin/env bash
# Airflow's UI on what the demo left, until Ctrl-C.
set -euo pipefail
# shellcheck source=scripts/local_airflow.sh
source "$(dirname "$0")/local_airflow.sh"

if [ ! -d "$AIRFLOW_HOME" ]; then
    echo "run \`make demo\` first" >&2
    exit 1
fi
start_airflow
wait_for_airflow
echo "http://127.0.0.1:$port/dags/anomstack_flights   (Ctrl-C ends it)"
wait "$airflow_pid"
