# History since 1940. The newest days come with a delay: they are null at first, and later runs fetch them again.
URL = base_url("WEATHER", "https://archive-api.open-meteo.com") + "/v1/archive"
PLACES = {"Berlin": (52.52, 13.41), "Paris": (48.85, 2.35), "Madrid": (40.42, -3.70)}
MEASURES = {"temperature": "temperature_2m_mean", "rain": "precipitation_sum", "wind": "wind_speed_10m_max"}


def ingest(data_interval_start, data_interval_end):
    """Return the mean temperature, the rain and the strongest wind of each place and day."""
    days = days_of(data_interval_start, data_interval_end)
    rows = []
    for place, (latitude, longitude) in PLACES.items() if days else ():
        params = {"latitude": latitude, "longitude": longitude, "daily": ",".join(MEASURES.values()), "timezone": "GMT"}
        params |= {"start_date": f"{days[0]:%Y-%m-%d}", "end_date": f"{days[-1]:%Y-%m-%d}"}
        answer = get(URL, params)
        with expected_form(URL):
            for name, key in MEASURES.items():
                for day, value in zip(answer["daily"]["time"], answer["daily"][key], strict=True):
                    rows.append((day, f"{name}.{place}", value))
    return table(rows)
