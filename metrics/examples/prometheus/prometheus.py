# History as far back as Prometheus keeps it; the queries stand in the YAML.
import json

CONN_ID = "prometheus"  # conn type http: host (a URL); login and password if it asks for them
QUERIES = json.loads(r"""{{ prometheus_queries | tojson }}""")
STEP = "{{ prometheus_step }}"


def ingest(data_interval_start, data_interval_end):
    """Return a value per query, series and step; the last step before the window's end is the last one."""
    connection, base = from_connection(CONN_ID)
    url = f"{base}/api/v1/query_range"
    auth = (connection.login, connection.password or "") if connection.login else None
    last = data_interval_end - timedelta(milliseconds=1)
    rows = []
    for query in QUERIES:
        params = {"query": query["query"], "step": STEP}
        params |= {"start": data_interval_start.isoformat(), "end": last.isoformat()}
        answer = get(url, params, auth=auth, secret=connection.password)
        with expected_form(url):
            found = answer["data"]["result"]
            if len(found) > 1 and not query.get("labels"):
                raise SourceError(f"query {query['name']} gives {len(found)} series: sum them, or name labels")
            for series in found:
                name = ".".join([query["name"], *(series["metric"][label] for label in query.get("labels", ()))])
                rows += [(datetime.fromtimestamp(float(at), UTC), name, float(value)) for at, value in series["values"]]
    return table(rows)
