"""``milepost doctor``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape

from milepost.worker.checks.base import Finding, Verdict
from milepost.worker.checks.examination import examine

from .display import plain_table, print_json
from .loading import load_app
from .options import app_option, json_option

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


@click.command()
@app_option
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings, too.")
@json_option
def doctor(app_name: str | None, strict: bool, as_lines: bool) -> None:
    """Check stores, broker, fleet and runs: what is wrong, and what to do about it.

    Name the application (-A) to have its routes and its Celery settings checked. Exits with 1 if runs can
    be lost or do not go on.
    """
    findings: list[Finding] = []
    for finding in examine(load_app(app_name)):
        findings.append(finding)
        if as_lines:
            print_json(asdict(finding))
    counts = Counter(finding.verdict for finding in findings)
    if not as_lines:
        _show(findings)
        click.echo(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))
    sys.exit(1 if counts[Verdict.FAIL] or (strict and counts[Verdict.WARN]) else 0)


def _show(findings: list[Finding]) -> None:
    table = plain_table("", "check", "finding")
    for finding in findings:
        colour = _COLOURS[finding.verdict]
        where = f"[dim]{escape(finding.where)}[/] " if finding.where not in finding.says else ""
        table.add_row(
            f"[{colour}]{finding.verdict.upper()}[/]",
            finding.check,
            f"{where}{escape(finding.says)} [bold]{escape(finding.remedy)}[/]",
        )
    Console().print(table)
