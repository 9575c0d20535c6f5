# History: the search that Algolia runs for Hacker News counts what was written in any span of time.
URL = base_url("HACKER_NEWS", "https://hn.algolia.com") + "/api/v1/search_by_date"
KINDS = {"stories": "story", "comments": "comment", "show_hn": "show_hn", "ask_hn": "ask_hn"}


def ingest(data_interval_start, data_interval_end):
    """Count what was posted in each day, by kind: one request for each count."""
    rows = []
    for day in days_of(data_interval_start, data_interval_end):
        begins, ends = int(day.timestamp()), int((day + timedelta(days=1)).timestamp())
        for name, tag in KINDS.items():
            span = f"created_at_i>={begins},created_at_i<{ends}"
            answer = get(URL, {"tags": tag, "numericFilters": span, "hitsPerPage": 0})
            with expected_form(URL):
                rows.append((day, name, int(answer["nbHits"])))
    return table(rows)
