# History of the commits. Stars and open issues are known only as they are now: the newest window alone gets a value.
URL = base_url("GITHUB", "https://api.github.com")
CONN_ID = "github"  # optional; conn type http with a token as the password: 5,000 requests an hour in the place of 60
REPOSITORIES = ["yzhao062/pyod", "pydantic/pydantic"]
NOW_METRICS = {"stars": "stargazers_count", "open_issues": "open_issues_count", "forks": "forks_count"}


def ingest(data_interval_start, data_interval_end):
    """Count the commits of each repository and day, and read what it counts now."""
    token = find_token()
    headers = {"Accept": "application/vnd.github+json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    rows = []
    for name in REPOSITORIES:
        url = f"{URL}/repos/{name}"
        counts = dict.fromkeys(days_of(data_interval_start, data_interval_end), 0)
        with expected_form(f"{url}/commits"):
            for commit in commits(url, headers, token, data_interval_start, data_interval_end):
                moment = datetime.fromisoformat(commit["commit"]["committer"]["date"])
                day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                if day in counts:
                    counts[day] += 1
        rows += [(day, f"commits.{name}", count) for day, count in counts.items()]
        if counts and datetime.now(UTC) - data_interval_end < timedelta(days=1):
            answer = get(url, headers=headers, secret=token)
            with expected_form(url):
                rows += [(max(counts), f"{metric}.{name}", answer[key]) for metric, key in NOW_METRICS.items()]
    return table(rows)


def commits(url, headers, token, start, end):
    """Yield the commits to the default branch in a window, page by page."""
    page, params = f"{url}/commits", {"since": start.isoformat(), "until": end.isoformat(), "per_page": 100}
    while page:
        answer = ask("GET", page, token, params=params, headers=headers)
        yield from answer.json()
        page, params = answer.links.get("next", {}).get("url"), None  # the link has the parameters in it
        if page and urlsplit(page).netloc != urlsplit(url).netloc:
            raise SourceError(f"{address(url)}: the next page is on another host: {address(page)}")


def find_token():
    """Return the token, if there is a connection."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        return from_connection(CONN_ID, URL)[0].password
    except AirflowNotFoundException:
        return None
