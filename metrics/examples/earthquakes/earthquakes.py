# History since 1900 and before: the catalogue of the U.S. Geological Survey, page by page.
URL = base_url("EARTHQUAKES", "https://earthquake.usgs.gov") + "/fdsnws/event/1/query"
WEAKEST = 4.5  # magnitude; weaker ones are not recorded everywhere
PAGE = 2000


def ingest(data_interval_start, data_interval_end):
    """Count the earthquakes of each day and return the strongest one's magnitude."""
    days = {day: [] for day in days_of(data_interval_start, data_interval_end)}
    with expected_form(URL):
        for properties in earthquakes(data_interval_start, data_interval_end):
            moment = datetime.fromtimestamp(properties["time"] / 1000, UTC)
            day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            if day in days:
                days[day].append(float(properties["mag"]))
    rows = [(day, "earthquakes", len(magnitudes)) for day, magnitudes in days.items()]
    return table(rows + [(day, "strongest", max(magnitudes)) for day, magnitudes in days.items() if magnitudes])


def earthquakes(start, end):
    """Yield what is known of each earthquake in a window."""
    params = {"format": "geojson", "starttime": start.isoformat(), "endtime": end.isoformat(), "limit": PAGE}
    params |= {"minmagnitude": WEAKEST, "eventtype": "earthquake", "orderby": "time-asc", "offset": 1}
    while True:
        found = get(URL, params)["features"]
        yield from (feature["properties"] for feature in found)
        if len(found) < PAGE:
            return
        params["offset"] += PAGE
