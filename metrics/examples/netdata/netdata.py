# History as long as the agent keeps it, a few days or weeks; older windows are empty.
CONN_ID = "netdata"  # conn type http: host (a URL such as http://localhost:19999)
CHARTS = ["system.cpu", "system.load", "system.net"]
MINUTES = 10


def ingest(data_interval_start, data_interval_end):
    """Return the mean of each dimension of the charts in each ten minutes."""
    _, base = from_connection(CONN_ID)
    url = f"{base}/api/v1/data"
    start, end = int(data_interval_start.timestamp()), int(data_interval_end.timestamp())
    rows = []
    for chart in CHARTS:
        params = {"chart": chart, "after": start, "before": end, "points": (end - start) // (60 * MINUTES)}
        params |= {"group": "average", "format": "json", "options": "seconds"}
        answer = get(url, params)
        with expected_form(url):
            names = answer["labels"][1:]
            for ends, *values in answer["data"]:
                # Netdata gives the end of what it averaged, anomstack wants its beginning.
                begins = datetime.fromtimestamp(ends, UTC) - timedelta(minutes=MINUTES)
                if data_interval_start <= begins < data_interval_end:
                    rows += [(begins, f"{chart}.{name}", value) for name, value in zip(names, values, strict=True)]
    return table(rows)
