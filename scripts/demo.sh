#!/usr/bin/env bash
# The demo: New York's flights of 2013, loaded, run for a few days through Airflow, and previewed for the whole year.
set -euo pipefail
# shellcheck source=scripts/local_airflow.sh
source "$(dirname "$0")/local_airflow.sh"
say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

out="$repo/.demo/preview"
rm -rf "$repo/.demo"
mkdir -p "$AIRFLOW__CORE__DAGS_FOLDER" "$out" "$AIRFLOW__ANOMSTACK__METRICS_DIR/examples"
# A metrics folder of the demo's own: with the flights and without the other examples.
cp -r "$repo/metrics/examples/flights" "$AIRFLOW__ANOMSTACK__METRICS_DIR/examples/"
cp "$repo/example_dags/anomstack_dags.py" "$AIRFLOW__CORE__DAGS_FOLDER/"

say "loading every flight of 2013 into DuckDB"
python -m anomstack_provider.demo load

say "a backfill of the batch 'flights', 8 to 11 February 2013"
# Everything is queued before Airflow starts: SQLite, its database here, has one writer at a time.
airflow db migrate > "$AIRFLOW_HOME/setup.log" 2>&1
{
    airflow dags reserialize
    airflow dags unpause anomstack_flights
    airflow backfill create --dag-id anomstack_flights --from-date 2013-02-08 --to-date 2013-02-11 --max-active-runs 2
} >> "$AIRFLOW_HOME/setup.log" 2>&1 || { cat "$AIRFLOW_HOME/setup.log"; exit 1; }

say "starting Airflow to run it"
start_airflow
wait_for_airflow
python "$repo/scripts/airflow_api.py" backfilled anomstack_flights
stop_airflow
trap - EXIT

say "what those runs stored"
python -m anomstack_provider.demo show

say "the whole year, replayed by the same code: the alerts that would have been sent"
anomstack preview flights --start 2013-01-01 --end 2014-01-01 --charts "$out/charts" --scores "$out/scores.csv" \
    --output json > "$out/alerts.json"
python -m anomstack_provider.demo explain "$out/alerts.json"

say "done"
echo "charts of the alerts:   ${out#"$repo/"}/charts"
echo "every day's score:      ${out#"$repo/"}/scores.csv"
echo "the runs in Airflow:    make ui"
