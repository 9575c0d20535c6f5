"""
The loader under a fuzzer that follows its branches: ``python tests/fuzz/fuzz_loader.py -max_total_time=300``.

An input is a batch's file and, behind a line of ``%%%``, the folder's defaults. Whatever they hold: loading raises
nothing, and gives either the batch or errors that say in which file and line. Arguments are those of libFuzzer; inputs
that it should begin with and finds on its way are kept in a folder that may be given as well.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["anomstack_provider.config"]):
    from anomstack_provider.config import loader, spec

REPOSITORY = Path(__file__).resolve().parents[2]
SPLIT = b"\n%%%\n"


class Broken(AssertionError):
    """The loader broke its promise."""


def check(root: Path, content: bytes) -> None:
    """Load one input from ``root`` and look at the answer."""
    batch, _, defaults = content.partition(SPLIT)
    (root / "a.yaml").write_bytes(batch)
    if defaults:
        (root / "defaults.yaml").write_bytes(defaults)
    else:
        (root / "defaults.yaml").unlink(missing_ok=True)
    loaded = loader.load_batches(root, environ={})
    if bool(loaded.batches) == bool(loaded.errors):
        raise Broken(f"{len(loaded.batches)} batches and {len(loaded.errors)} errors of one file")
    lines = {"a.yaml": _lines(batch), "defaults.yaml": _lines(defaults)}
    for error in loaded.errors:
        said = str(error)
        if error.path not in lines or not said.startswith(error.path):
            raise Broken(f"an error that names no file: {said!r}")
        if error.line is not None and not 1 <= error.line <= lines[error.path]:
            raise Broken(f"line {error.line} of {lines[error.path]}: {said!r}")
        if error.key is not None and error.line is None:
            raise Broken(f"an error of a key without its line: {said!r}")
        if "validation error" in said or "Input should" in said:
            raise Broken(f"the words of a library: {said!r}")
    for found in loaded.batches.values():
        again = spec.BatchSpec.model_validate(found.spec.model_dump())
        if again.model_dump() != found.spec.model_dump():
            raise Broken("a batch that is not what it says")


def _lines(content: bytes) -> int:
    # One more than there are breaks; YAML has five kinds of them, one of two characters, and a mark may be at the end.
    text = content.decode("utf-8", "replace")
    return sum(text.count(mark) for mark in "\n\r\x85\u2028\u2029") + 1


def seeds(folder: Path) -> None:
    """Write the files of the metrics folder, which are real ones, as inputs to begin with."""
    for number, path in enumerate(sorted((REPOSITORY / "metrics").rglob("*.yaml"))):
        (folder / f"seed-{number}").write_bytes(path.read_bytes()[:4000])
    (folder / "seed-defaults").write_bytes(b"metric_batch: a\ningest_sql: select 1" + SPLIT + b"shards: 3\n")


def words(path: Path) -> None:
    """Write the keys of a batch as words to make inputs of."""
    marks = ["&a ", "*a", "<<: ", "!!int ", "%%%", "- ", "{", "}", "[", "]", "|", ">-", "? ", "---", "..."]
    lines = [*(f"{key}: " for key in spec.BatchSpec.model_fields), *marks]
    path.write_text("".join(f'"{line}"\n' for line in lines), "utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root, corpus, dictionary = (Path(directory, name) for name in ("metrics", "corpus", "words"))
        root.mkdir()
        corpus.mkdir()
        seeds(corpus)
        words(dictionary)
        atheris.Setup(
            [sys.argv[0], f"-dict={dictionary}", "-max_len=4096", *sys.argv[1:], str(corpus)],
            lambda content: check(root, content),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
