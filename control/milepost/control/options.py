"""Options that several commands share."""

from __future__ import annotations

import click

app_option = click.option(
    "-A",
    "--app",
    "app_name",
    envvar="MILEPOST_APP",
    metavar="MODULE",
    help="Module (or module:attribute) with the application. Also MILEPOST_APP.",
)
json_option = click.option("--json", "as_lines", is_flag=True, help="Print JSON for programs.")
