"""
``airflow anomstack ...``: the console script ``anomstack``, offered by Airflow's own command line (3.2 on).

Airflow imports this module whenever ``airflow`` is typed, so it only declares; what the command does, and
every argument it knows, lives in :mod:`anomstack_provider.cli`.
"""

from __future__ import annotations

import argparse

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand


def run(args: argparse.Namespace) -> None:
    """Pass everything after ``airflow anomstack`` on, unread, and end with the exit status it gives."""
    from anomstack_provider.cli import main

    raise SystemExit(main(args.arguments))


def get_airflow_cli_commands() -> list[CLICommand]:
    """Return the one command of this provider. Its arguments are the console script's, whatever they are."""
    return [
        ActionCommand(
            name="anomstack",
            help="Check metric batches and preview their alerts",
            description=(
                "The same as the console script anomstack, with the same commands and arguments.\n"
                "What a command takes: airflow anomstack COMMAND --help"
            ),
            func=run,
            args=(
                # Takes options too, but only after a first word: `airflow anomstack --help` stays Airflow's.
                Arg(
                    ("arguments",),
                    nargs=argparse.REMAINDER,
                    metavar="COMMAND ...",
                    help="a command of anomstack and its arguments",
                ),
            ),
        )
    ]
