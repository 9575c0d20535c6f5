"""Asks a server that is not there."""

import json
from urllib.request import urlopen

import pandas as pd


def ingest(url="http://127.0.0.1:9/prices.json"):
    with urlopen(url, timeout=5) as answer:
        return pd.DataFrame(json.load(answer))
