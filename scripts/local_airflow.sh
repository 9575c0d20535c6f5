# Sourced by demo.sh and ui.sh: an Airflow home of the demo's own below the repository, on this machine alone.
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(cd "${VENV:-$repo/.venv}" && pwd)/bin
port=${DEMO_PORT:-8080}

export PATH="$bin:$PATH"
export AIRFLOW_HOME="$repo/.demo/airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$AIRFLOW_HOME/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
# Airflow's default of 32 tasks at once is too many for a laptop and for SQLite.
export AIRFLOW__CORE__PARALLELISM=4
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$port/execution/"
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT="$port"
export AIRFLOW__API__BASE_URL="http://127.0.0.1:$port"
export AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING
export AIRFLOW__ANOMSTACK__METRICS_DIR="$repo/.demo/metrics"
export NO_PROXY="127.0.0.1,localhost,${NO_PROXY:-}"

# Start `airflow standalone` in a session of its own, so that all of its processes can be ended together.
start_airflow() {
    if python -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2> /dev/null; then
        echo "port $port is taken; choose another: DEMO_PORT=8090 make ..." >&2
        exit 1
    fi
    python -c 'import os; os.setsid(); os.execvp("airflow", ["airflow", "standalone"])' \
        > "$AIRFLOW_HOME/standalone.log" 2>&1 < /dev/null &
    airflow_pid=$!
    trap stop_airflow EXIT
}

stop_airflow() {
    kill -TERM -- "-$airflow_pid" 2> /dev/null || true
    wait "$airflow_pid" 2> /dev/null || true
}

# Wait until every component reports itself healthy.
wait_for_airflow() {
    local deadline=$((SECONDS + 120))
    until python "$repo/scripts/airflow_api.py" healthy 2> /dev/null; do
        if ((SECONDS > deadline)) || ! kill -0 "$airflow_pid" 2> /dev/null; then
            echo "Airflow did not start; the end of $AIRFLOW_HOME/standalone.log:" >&2
            tail -n 20 "$AIRFLOW_HOME/standalone.log" >&2
            exit 1
        fi
        sleep 1
    done
}
