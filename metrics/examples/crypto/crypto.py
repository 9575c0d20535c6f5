# History: Coinbase's candles of a day, at most 300 of them in an answer.
URL = base_url("CRYPTO", "https://api.exchange.coinbase.com")
PRODUCTS = ["BTC-USD", "ETH-USD"]
MOST = 300


def ingest(data_interval_start, data_interval_end):
    """Return the closing price, the traded volume and the span between high and low of each day."""
    days = days_of(data_interval_start, data_interval_end)
    rows = []
    for product in PRODUCTS:
        url = f"{URL}/products/{product}/candles"
        for first in range(0, len(days), MOST):
            part = days[first : first + MOST]
            params = {"granularity": 86400, "start": part[0].isoformat(), "end": part[-1].isoformat()}
            answer = get(url, params)
            with expected_form(url):
                for begins, low, high, _, close, volume in answer:
                    day = datetime.fromtimestamp(begins, UTC)
                    if day in part:  # the answer may reach further than it was asked to
                        rows += [(day, f"{product}.close", close), (day, f"{product}.volume", volume)]
                        rows.append((day, f"{product}.span_pct", 100 * (high - low) / close))
    return table(rows)
