"""From a template to an answer: every name escaped, and nothing loaded from anywhere but this server."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def rendered(template: str, status: int, **names: Any) -> HTMLResponse:
    """Return a page with the headers that all of them have."""
    return HTMLResponse(_environment().get_template(template).render(names), status, HEADERS)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["address"] = _address
    return found


def _address(page: str, /, **query: Any) -> str:
    """Return a page's address relative to the others; names are in the query, where any of them can be written."""
    return f"{page}?{urlencode({key: value for key, value in query.items() if value not in (None, '', False)})}"
