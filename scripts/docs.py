"""
Write what in docs/ is made by the code: docs/configuration.md, the tables of docs/from-anomstack.md, and with
``--images`` the picture of an alert.

The picture is drawn from the demo's data (the extra ``demo``); the text needs nothing. ``--check`` writes nothing and
exits with 1 if the text in docs/ is not what the code says.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from anomstack_provider.config.schema import key_table
from anomstack_provider.get_provider_info import get_provider_info
from anomstack_provider.migrate.differences import difference_rows, key_rows

DOCS = Path(__file__).parent.parent / "docs"

PREAMBLE = """\
# Configuration

<!-- Made by scripts/docs.py from the code: change the descriptions there. -->

A batch is a YAML file anywhere below the metrics folder; folder and file names mean nothing, `metric_batch` names the
batch. `anomstack validate` checks a folder and names file, line and key of every mistake. `anomstack schema` prints a
JSON Schema for editors.

## Precedence

From lowest to highest, key by key:

1. the defaults below
2. the options of the `[anomstack]` section of the Airflow configuration
3. `defaults/defaults.yaml` or `defaults.yaml` in the metrics folder
4. the batch's own file
5. `ANOMSTACK_MODEL_PATH`, `ANOMSTACK_TABLE_KEY`, `ANOMSTACK_GCP_PROJECT_ID` (a batch's own `table_key` stays)
6. `ANOMSTACK__<BATCH>__<KEY>`, in upper case with `-` written as `_`: `ANOMSTACK__ORDERS__ALERT_THRESHOLD=0.9`

Values from the environment are read as the key's type. `ANOMSTACK_IGNORE_EXAMPLES=yes` leaves `examples/` out.
"""


def configuration() -> str:
    """Return docs/configuration.md."""
    options = get_provider_info()["config"]["anomstack"]["options"]
    lines = ["| option | default | what it is |", "| --- | --- | --- |"]
    for name, option in options.items():
        default = f"`{option['default']}`" if option["default"] else ""
        lines.append(f"| `{name}` | {default} | {' '.join(option['description'].split())} |")
    section = "## The `[anomstack]` section of the Airflow configuration\n\n" + "\n".join(lines)
    return f"{PREAMBLE}\n{section}\n\n## Keys of a batch\n\n{key_table().rstrip()}\n"


def from_anomstack() -> str:
    """Return docs/from-anomstack.md, its text as it is and its tables anew."""
    text = (DOCS / "from-anomstack.md").read_text()
    for name, rows in (("differences", difference_rows()), ("keys", key_rows())):
        begin, end = f"<!-- {name}, made by scripts/docs.py from the code -->\n", "\n<!-- end -->"
        head, rest = text.split(begin)
        header, rule = re.findall(r"^\|.*$", rest, re.MULTILINE)[:2]
        text = head + begin + "\n".join([header, rule, *rows]) + end + rest.split(end, 1)[1]
    return text


def draw_alert(target: Path) -> None:
    """Draw the README's alert: the demo's batch, previewed up to the blizzard of February 2013."""
    metrics = DOCS.parent / "metrics"
    with tempfile.TemporaryDirectory() as folder:
        period = ["--start", "2013-02-01", "--end", "2013-02-09"]
        command = ["anomstack", "preview", "flights", *period, "--metrics-dir", str(metrics), "--charts", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        chart = next(Path(folder).glob("*departures_EWR*.png"))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(chart.read_bytes())


def main(arguments: list[str]) -> int:
    pages = {"configuration.md": configuration(), "from-anomstack.md": from_anomstack()}
    if "--check" in arguments:
        stale = [name for name, text in pages.items() if (DOCS / name).read_text() != text]
        for name in stale:
            print(f"docs/{name} is not what the code says: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for name, text in pages.items():
        (DOCS / name).write_text(text)
    if "--images" in arguments:
        draw_alert(DOCS / "images" / "alert.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
