# History of the last 100 trading days, which is what a free key of Alpha Vantage gives.
import time

URL = base_url("STOCKS", "https://www.alphavantage.co") + "/query"
CONN_ID = "alphavantage"  # conn type http, the key as its password; a free key answers 25 times a day
PAUSE = float(os.environ.get("EXAMPLE_PAUSE", "1.5"))  # seconds between two requests: one a second is allowed
SYMBOLS = ["IBM", "AAPL", "MSFT"]


def ingest(data_interval_start, data_interval_end):
    """Return the closing price and the traded volume of each trading day."""
    wanted = {f"{day:%Y-%m-%d}" for day in days_of(data_interval_start, data_interval_end)}
    key = from_connection(CONN_ID, URL)[0].password
    rows = []
    for symbol in SYMBOLS:
        time.sleep(PAUSE)
        answer = get(URL, {"function": "TIME_SERIES_DAILY", "symbol": symbol, "apikey": key}, secret=key)
        refuse_excuses(answer, symbol, key)
        with expected_form(URL):
            for day, prices in answer["Time Series (Daily)"].items():
                if day in wanted:
                    rows.append((day, f"{symbol}.close", float(prices["4. close"])))
                    rows.append((day, f"{symbol}.volume", float(prices["5. volume"])))
    return table(rows)


def refuse_excuses(answer, symbol, key):
    """Raise for an answer of status 200 that only says why there are no prices."""
    with expected_form(URL):
        for name in ("Error Message", "Information", "Note"):
            if name in answer:
                text = answer[name].replace(key, "***") if key else answer[name]
                raise SourceError(f"GET {address(URL)}: no prices of {symbol}: {text}")
