"""Jinja of a configuration: includes from the folder and nowhere else, and errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import StrictUndefined

from anomstack_provider.config.errors import TemplateError
from anomstack_provider.config.templating import environment, render

NAMES: dict[str, Any] = {"table_key": "metrics", "metrics": ["a", "b"], "numbers": {"one": 1}}


def rendered(folder: Any, text: str, **names: object) -> str:
    return render(text, {**NAMES, **names}, folder.root, where="sales.yaml:3: ingest_sql")


def failure(folder: Any, text: str, **names: object) -> str:
    with pytest.raises(TemplateError) as raised:
        rendered(folder, text, **names)
    prefix = "sales.yaml:3: ingest_sql: "
    assert str(raised.value).startswith(prefix)
    return str(raised.value).removeprefix(prefix)


def test_names_of_the_context_are_rendered(folder: Any):
    text = "select '{{ metrics | join(',') }}' from {{ table_key }} {% if nope is defined %}x{% endif %}"
    assert rendered(folder, text) == "select 'a,b' from metrics "


def test_an_include_starts_at_the_metrics_folder(folder: Any):
    folder.write("examples/x/x.sql", "select 1 -- {{ table_key }}\n")
    for name in ("./examples/x/x.sql", "examples/x/x.sql", "examples/../examples/x/x.sql"):
        assert rendered(folder, f'{{% include "{name}" %}};') == "select 1 -- metrics\n;"


def test_included_python_keeps_its_lines(folder: Any):
    source = "import json\n\n\ndef ingest():\n    return json.loads('1')\n"
    folder.write("ingest.py", source)
    assert rendered(folder, '{% include "./ingest.py" %}') == source


def test_an_include_of_an_include(folder: Any):
    folder.write("a.sql", '{% include "b.sql" %}')
    folder.write("b.sql", "{{ table_key }}")
    assert rendered(folder, '{% include "a.sql" %}') == "metrics"


def test_a_missing_file_fails_only_the_key_that_includes_it(folder: Any):
    assert failure(folder, '{% include "nope.sql" %}') == (
        "include of 'nope.sql' cannot be read (No such file or directory); paths start at the metrics folder"
    )
    assert rendered(folder, '{% include "nope.sql" ignore missing %}x') == "x"


@pytest.mark.parametrize(
    "name", ["../secret.sql", "./a/../../secret.sql", "{root}/../secret.sql", "link.sql", "linked/secret.sql"]
)
def test_an_include_cannot_leave_the_folder(folder: Any, tmp_path: Path, name: str):
    (tmp_path / "secret.sql").write_text("secret")
    (folder.root / "link.sql").symlink_to(tmp_path / "secret.sql")
    (folder.root / "linked").symlink_to(tmp_path)
    name = name.replace("{root}", str(folder.root))
    assert failure(folder, f'{{% include "{name}" %}}') == (
        f"include of '{name}' is outside the metrics folder; includes stay within it"
    )


def test_a_sibling_with_the_folders_name_as_prefix_is_outside(folder: Any, tmp_path: Path):
    (tmp_path / "metrics_of_others").mkdir()
    (tmp_path / "metrics_of_others/x.sql").write_text("secret")
    assert "is outside the metrics folder" in failure(folder, '{% include "../metrics_of_others/x.sql" %}')


def test_a_link_within_the_folder_is_followed(folder: Any):
    folder.write("..data/x.sql", "select 1")
    (folder.root / "x.sql").symlink_to("..data/x.sql")
    assert rendered(folder, '{% include "./x.sql" %}') == "select 1"


def test_the_folder_itself_may_be_a_link(folder: Any, tmp_path: Path):
    folder.write("x.sql", "select 1")
    (tmp_path / "link").symlink_to(folder.root)
    assert render('{% include "x.sql" %}', {}, tmp_path / "link", where="x") == "select 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "select\n{{ tabel_key }}",
            "line 2 of the value: 'tabel_key' is undefined; did you mean 'table_key'?",
        ),
        ("{{ xyz }}", "line 1 of the value: 'xyz' is undefined"),
        ("{% for a in xyz %}{% endfor %}", "line 1 of the value: 'xyz' is undefined"),
        ("\n{{ numbers.two }}", "line 2 of the value: 'dict object' has no attribute 'two'"),
        ("{% if %}", "line 1 of the value: Expected an expression, got 'end of statement block'"),
        ("\n\n{% frob %}", "line 3 of the value: Encountered unknown tag 'frob'."),
        ("{{ 1 / 0 }}", "line 1 of the value: ZeroDivisionError: division by zero"),
        (
            '{% include "undefined.sql" %}',
            "undefined.sql:2: 'tabel_key' is undefined; did you mean 'table_key'?",
        ),
        (
            '{% include "./syntax.py" %}',
            "./syntax.py:3: Expected an expression, got 'end of print statement'",
        ),
        ('{% include "raises.py" %}', "raises.py:1: ZeroDivisionError: division by zero"),
        ('{% include "itself.sql" %}', "a template includes itself without end"),
        ('{% include "latin.sql" %}', "include of 'latin.sql' is not UTF-8 text; save it as UTF-8"),
        (
            '{% include "a\\u0000b" %}',
            "include of 'a\\x00b' is outside the metrics folder; includes stay within it",
        ),
        ("{{ fail() }}", "line 1 of the value: OSError: no disk"),
    ],
)
def test_an_error_says_where_and_why(folder: Any, text: str, message: str):
    folder.write("undefined.sql", "select\n{{ tabel_key }}\n")
    folder.write("syntax.py", "a = 1\n\nb = {{}}\n")
    folder.write("raises.py", "{{ 1 / 0 }}")
    folder.write("itself.sql", '{% include "itself.sql" %}')
    folder.write("latin.sql", b"caf\xe9")

    def fail() -> None:
        raise OSError("no disk")

    assert failure(folder, text, fail=fail) == message


@pytest.mark.parametrize(
    "text", ["{{ ''.__class__.__mro__ }}", "{{ metrics.__init__.__globals__ }}", "{{ f.__globals__ }}"]
)
def test_a_template_reaches_nothing_but_its_names(folder: Any, text: str):
    assert "SecurityError" in failure(folder, text, f=failure)


def test_the_environment_is_strict_and_rooted(folder: Any):
    folder.write("x.sql", "{{ table_key }}")
    made = environment(folder.root)
    assert made.undefined is StrictUndefined
    assert made.get_template("./x.sql").render(table_key="t") == "t"
