# Included before the ingest functions that ask a service over HTTP: time-outs, bounded retries, errors that help.
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pandas as pd
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError
from urllib3.util.retry import Retry

RETRIES = 3
LONGEST_WAIT = 60  # seconds between two tries, whatever the service asks for
WAIT = float(os.environ.get("EXAMPLE_WAIT", "0.5"))  # seconds, twice as many before each further try
TIME_OUT = float(os.environ.get("EXAMPLE_TIME_OUT", "30"))  # seconds for the connection, and again for each answer
ADVICE = {
    400: "check the names and dates that the example asks for",
    401: "check the key or the password in the Airflow connection",
    403: "check what the key or the account may read, and how often it may ask",
    404: "check the address and the names in it",
    429: "it is asked too often: run the batch less often, or use a key that may ask more",
}


class SourceError(RuntimeError):
    """The service did not give what was asked for; the message has the address without its parameters."""


class PatientRetry(Retry):
    """Waits as long as the service asks for, within limits."""

    def get_retry_after(self, response):
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, LONGEST_WAIT)


def base_url(name, default):
    """Return the service's address: that of the environment variable EXAMPLE_<NAME>_URL, if it is set."""
    return os.environ.get(f"EXAMPLE_{name}_URL", default).rstrip("/")


def from_connection(conn_id, default_url=""):
    """Return an Airflow connection and the base URL of its host; a host may be a whole URL."""
    from airflow.providers.common.compat.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    host = connection.host or default_url
    if not host:
        raise SourceError(f"the Airflow connection '{conn_id}' has no host")
    if "://" not in host:
        host = f"{connection.schema or 'http'}://{host}"
    port = f":{connection.port}" if connection.port and urlsplit(host).port is None else ""
    return connection, f"{host.rstrip('/')}{port}"


def get(url, params=None, headers=None, secret=None, auth=None):
    """Return the answer to a GET, decoded from JSON."""
    return ask("GET", url, secret, params=params, headers=headers, auth=auth).json()


def post(url, body, headers=None, secret=None):
    """Return the answer to a POST that only reads, decoded from JSON."""
    return ask("POST", url, secret, json=body, headers=headers).json()


def ask(method, url, secret=None, **request):
    """
    Return a good answer that is JSON.

    What may pass is tried again: no connection, no answer in time, the statuses 429, 500, 502, 503 and 504.

    :param secret: kept out of the messages, should the service repeat it.
    :raises SourceError: there is none.
    """
    retry = PatientRetry(
        total=RETRIES,
        backoff_factor=WAIT,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # any: all of them read
        raise_on_status=False,
    )
    what = f"{method} {address(url)}"
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            answer = session.request(method, url, timeout=TIME_OUT, **request)
        except requests.RequestException as error:
            # Not the error's own text: it has the whole URL in it.
            raise SourceError(f"{what}: {reason(error)}, {RETRIES + 1} tries; is the address right?") from None
    if answer.status_code >= 400:
        advice = ADVICE.get(answer.status_code, "it is the service's fault; the next run asks for the window again")
        raise SourceError(f"{what}: {answer.status_code} {answer.reason}: {said(answer, secret)}; {advice}")
    try:
        answer.json()
    except ValueError:
        raise SourceError(f"{what}: the answer is not JSON: {said(answer, secret)}") from None
    return answer


def address(url):
    """Return a URL without its user, password and parameters."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def reason(error):
    """Return why there was no answer at all."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    refused = isinstance(cause, NewConnectionError)  # to urllib3 a kind of time-out
    if not refused and isinstance(cause or error, ConnectTimeoutError | ReadTimeoutError | requests.Timeout):
        return f"no answer within {TIME_OUT:g} s"
    return f"no connection ({type(cause or error).__name__})"


def said(answer, secret):
    """Return the beginning of an answer as one line."""
    text = " ".join(answer.text.split())[:200] or "nothing"
    return text.replace(secret, "***") if secret else text


@contextmanager
def expected_form(url):
    """Say which answer had another form than the code inside expects."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        text = f"{address(url)}: the answer has not the expected form ({problem}); did the API change?"
        raise SourceError(text) from error


def days_of(start, end):
    """Return the days in UTC that begin in a window."""
    day = datetime(start.year, start.month, start.day, tzinfo=UTC)
    days = []
    while day < end:
        if day >= start:
            days.append(day)
        day += timedelta(days=1)
    return days


def table(rows):
    """Return rows of (time, name, value) as ingest() has to."""
    return pd.DataFrame(rows, columns=["metric_timestamp", "metric_name", "metric_value"])
