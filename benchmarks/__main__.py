"""``python -m benchmarks [name ...] [--repeats N] [--json FILE]``."""

from __future__ import annotations

from pathlib import Path

import click

from . import (
    api,
    checkpoint,
    dashboard,
    growth,
    large,
    listing,
    machine,
    recovery,
    report,
    round_trips,
    starting,
    stores,
    throughput,
)
from .finding import Finding
from .server import Server

_BENCHMARKS = {
    module.NAME: module
    for module in (
        throughput,
        recovery,
        checkpoint,
        stores,
        large,
        growth,
        starting,
        listing,
        api,
        dashboard,
        round_trips,
    )
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*_BENCHMARKS]))
@click.option(
    "--repeats", type=click.IntRange(min=1), help="Instead of each benchmark's own number."
)
@click.option(
    "--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON too."
)
def main(names: tuple[str, ...], repeats: int | None, file: Path | None) -> None:
    """Measure the benchmarks NAMES, or all of them, on a server of their own."""
    findings: list[Finding] = []
    with Server() as server:
        about = machine.describe(server.version)
        for name in names or _BENCHMARKS:
            click.echo(f"{name} …", err=True)
            findings += _BENCHMARKS[name].measure(server.url, server.folder, repeats)
    report.show(findings, about)
    if file is not None:
        report.write(file, findings, about)


main()
