# History: HogQL over the events, which PostHog keeps for years.
CONN_ID = "posthog"  # conn type http: host (https://eu.posthog.com), a personal API key as the password, and the
#                      project's number in the extra: {"project_id": 12345}
EVENTS = ["$pageview", "sign_up", "purchase"]
MOST = 10_000


def ingest(data_interval_start, data_interval_end):
    """Count the events of each name and day, and the people behind them."""
    connection, base = from_connection(CONN_ID)
    project = connection.extra_dejson.get("project_id")
    if not project:
        raise SourceError(f"the Airflow connection '{CONN_ID}' has no project_id in its extra")
    url = f"{base}/api/projects/{project}/query/"
    names = ", ".join(f"'{name}'" for name in EVENTS)
    query = f"""
        SELECT toStartOfDay(timestamp, 'UTC') AS day, event, count() AS number, count(DISTINCT person_id) AS people
        FROM events
        WHERE event IN ({names})
            AND timestamp >= toDateTime('{data_interval_start:%Y-%m-%d %H:%M:%S}', 'UTC')
            AND timestamp < toDateTime('{data_interval_end:%Y-%m-%d %H:%M:%S}', 'UTC')
        GROUP BY day, event
        ORDER BY day, event
        LIMIT {MOST}
    """
    key = connection.password
    body = {"query": {"kind": "HogQLQuery", "query": query}, "name": "anomstack"}
    answer = post(url, body, {"Authorization": f"Bearer {key}"}, secret=key)
    with expected_form(url):
        if answer.get("hasMore"):
            raise SourceError(f"POST {address(url)}: more than {MOST:,} rows; make history_chunk shorter")
        found = {(str(day)[:10], event): (number, people) for day, event, number, people in answer["results"]}
    rows = []
    for day in days_of(data_interval_start, data_interval_end):
        for event in EVENTS:
            number, people = found.get((f"{day:%Y-%m-%d}", event), (0, 0))  # a day without an event has no row
            rows += [(day, f"{event}.events", number), (day, f"{event}.people", people)]
    return table(rows)
