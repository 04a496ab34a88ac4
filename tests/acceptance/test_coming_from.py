"""What the systems that people come from document is in the coverage table, and runs as its page says."""

from __future__ import annotations

import ast
import csv
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.pages import ROOT, Section, all_sections
from support.s3_server import SeaweedServer, store_url

SYSTEMS = {"FA": 115, "TL": 125, "NF": 119, "MA": 98, "SP": 166}
HERE = "tests/acceptance/test_coming_from.py::test_row"
TABLE = ROOT / "docs" / "coverage.csv"
SECTIONS = all_sections()


def table() -> list[dict[str, str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return [*csv.DictReader(file)]


def shown_by(row: dict[str, str]) -> bool:
    return row["test"] == f"{HERE}[{row['id']}]"


@pytest.fixture(scope="session")
def outcomes() -> dict[str, subprocess.CompletedProcess[str]]:
    return {}


@pytest.fixture
def run(
    outcomes: dict[str, subprocess.CompletedProcess[str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Any:
    """Run a section once, on emptied servers, and return how it ended."""

    def run(where: str) -> subprocess.CompletedProcess[str]:
        if where not in outcomes:
            section = next(s for s in SECTIONS if s.where == where)
            redis_url, postgres_url = map(request.getfixturevalue, ("redis_url", "postgres_url"))
            seaweed_server: SeaweedServer = request.getfixturevalue("seaweed_server")
            env = {n: v for n, v in os.environ.items() if not n.startswith("MILEPOST_")}
            env |= {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
                "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{tmp_path / 'run'}",
                "REAL_REDIS": redis_url,
                "REAL_POSTGRES": postgres_url,
                "REAL_S3": store_url(seaweed_server.endpoint, f"pages/{uuid4().hex}"),
                "AWS_ENDPOINT_URL": seaweed_server.endpoint,
                "AWS_ACCESS_KEY_ID": "test-access-key",
                "AWS_SECRET_ACCESS_KEY": "test-secret-key",
                "AWS_DEFAULT_REGION": "us-east-1",
                "MILEPOST_URL": redis_url,
                "COLUMNS": "200",
            }
            outcomes[where] = run_section(section, tmp_path, env)
        return outcomes[where]

    return run


def run_section(
    section: Section, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run it in a process group of its own, so that its workers end with it."""
    command = [sys.executable, "-m", "support.section", section.page, section.title]
    (folder / "run").mkdir()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=folder / "run",
            env=env,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(110)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, output.read())


@pytest.mark.parametrize("where", [s.where for s in SECTIONS if s.blocks])
def test_section(where: str, run: Any) -> None:
    """The code on the page runs, from top to bottom, and its assertions hold."""
    done = run(where)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("row", [row["id"] for row in table() if shown_by(row)])
def test_row(row: str, run: Any) -> None:
    """The section that a row names is for that row, has an assertion, and runs."""
    where = next(r["where"] for r in table() if r["id"] == row)
    section = next(s for s in SECTIONS if s.where == where)

    assert row in section.rows
    assert any("assert " in block.text for block in section.blocks)
    assert run(where).returncode == 0


def test_every_row_is_there_once() -> None:
    """None of the features is forgotten."""
    wanted = [f"{system}-{n:03d}" for system, last in SYSTEMS.items() for n in range(1, last + 1)]

    assert [row["id"] for row in table()] == wanted


def test_rows_are_honest() -> None:
    """What works names its page and a test that exists; what does not gives its reason."""
    places = {s.where for s in SECTIONS}
    wrong = []
    for row in table():
        if row["status"] in ("works", "differs"):
            sound = row["where"] in places and (shown_by(row) or names_a_test(row["test"]))
            sound = sound and (row["status"] == "works" or bool(row["note"]))
        else:
            sound = row["status"] in ("declined", "planned") and len(row["note"]) > 20
        if not sound:
            wrong.append(row)

    assert wrong == []


@cache
def names_of_tests(path: str) -> frozenset[str]:
    if not (ROOT / path).is_file():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def names_a_test(node: str) -> bool:
    path, _, name = node.partition("::")
    return name.partition("[")[0] in names_of_tests(path)
