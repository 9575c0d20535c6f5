# History: the runs that ended in the window, as long as Airflow's database keeps them.
CONN_ID = "airflow_api"  # conn type http: host (a URL), login, password; or a token as the password, without a login
PAGE = 100


def ingest(data_interval_start, data_interval_end):
    """Count the runs of all DAGs that ended in each day, those that failed, and how long they took."""
    connection, url = from_connection(CONN_ID)
    token = connection.password
    if connection.login:
        account = {"username": connection.login, "password": connection.password}
        with expected_form(f"{url}/auth/token"):
            token = post(f"{url}/auth/token", account, secret=connection.password)["access_token"]
    days = {day: [] for day in days_of(data_interval_start, data_interval_end)}
    with expected_form(f"{url}/api/v2/dags/~/dagRuns"):
        for run in ended_between(url, token, data_interval_start, data_interval_end):
            if run["end_date"] is None:  # to the API a run that has not ended ends now
                continue
            ended = datetime.fromisoformat(run["end_date"])
            # Runs that wait for their first task to start have no start; they count, and took no time.
            started = datetime.fromisoformat(run["start_date"]) if run["start_date"] else ended
            minutes = (ended - started).total_seconds() / 60
            midnight = ended.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            if midnight in days:
                days[midnight].append((run["state"], minutes))
    rows = []
    for day, runs in days.items():
        failed = sum(state == "failed" for state, _ in runs)
        rows += [(day, "runs", len(runs)), (day, "failed", failed)]
        if runs:  # a share and a mean of nothing are no values
            rows.append((day, "failed_pct", 100 * failed / len(runs)))
            rows.append((day, "minutes_mean", sum(minutes for _, minutes in runs) / len(runs)))
    return table(rows)


def ended_between(url, token, start, end):
    """Yield the runs that ended in a window, page by page, in an order that new runs do not change."""
    offset, more = 0, True
    while more:
        params = {"end_date_gte": start.isoformat(), "end_date_lt": end.isoformat(), "order_by": "end_date"}
        params |= {"limit": PAGE, "offset": offset}
        answer = get(f"{url}/api/v2/dags/~/dagRuns", params, {"Authorization": f"Bearer {token}"}, secret=token)
        yield from answer["dag_runs"]
        offset += len(answer["dag_runs"])
        more = bool(answer["dag_runs"]) and offset < answer["total_entries"]
