#!/bin/sh
# Print .env.example with fresh secrets in place of the empty ones:  sh docker/new_env.sh > .env
# It only prints, so an existing .env is overwritten only by whoever types the redirection.
set -eu

random() { # random bytes as url-safe base64; 32 bytes of it are a Fernet key
    head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'
}

sed -e "s|^AIRFLOW_FERNET_KEY=\$|&$(random 32)|" \
    -e "s|^AIRFLOW_JWT_SECRET=\$|&$(random 48)|" \
    -e "s|^POSTGRES_PASSWORD=\$|&$(random 18)|" \
    -e "s|^ADMIN_PASSWORD=\$|&$(random 12)|" \
    "$(dirname "$0")/../.env.example"
