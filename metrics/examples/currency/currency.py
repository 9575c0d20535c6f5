# History since 1999: the European Central Bank's rates of working days, as Frankfurter serves them.
URL = base_url("CURRENCY", "https://api.frankfurter.dev") + "/v1"
CURRENCIES = ["USD", "GBP", "CHF", "JPY"]


def ingest(data_interval_start, data_interval_end):
    """Return what a euro costs in each currency; weekends and holidays have no rate."""
    days = days_of(data_interval_start, data_interval_end)
    if not days:
        return table([])
    url = f"{URL}/{days[0]:%Y-%m-%d}..{days[-1]:%Y-%m-%d}"
    answer = get(url, {"base": "EUR", "symbols": ",".join(CURRENCIES)})
    # A window that begins on a day without rates is answered from the working day before it on.
    wanted = {f"{day:%Y-%m-%d}" for day in days}
    with expected_form(url):
        rates = {day: values for day, values in answer["rates"].items() if day in wanted}
        return table([(day, f"EUR/{name}", float(rate)) for day, of in rates.items() for name, rate in of.items()])
