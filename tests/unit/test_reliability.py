"""The page of promises: every row is on it, and what it calls proven has tests that say so."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides/reliability.md").read_text()
SUITES = ROOT / "tests/contract/conftest.py"
ALL = {f"F{n}" for n in range(1, 73)} | {f"S{n}" for n in range(1, 19)}
_ROW = re.compile(r"^\| ([FS]\d+) \| .+ \| .+ \| (.+) \|$", re.MULTILINE)
_UNPROVEN = re.compile(r"^\* \*\*([FS]\d+)\*\* \S", re.MULTILINE)
_ID = re.compile(r"\b[FS]\d+\b")


def section(title: str) -> str:
    """The text below a heading, up to the next of its level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows() -> dict[str, list[str]]:
    """The tests that the tables name, by row."""
    return {row: re.findall(r"`([^`]+)`", tests) for row, tests in _ROW.findall(PAGE)}


@cache
def marked() -> dict[str, frozenset[str]]:
    """The rows that each test proves, by the marks in the sources."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name, text = str(path.relative_to(ROOT)), path.read_text()
        tree = ast.parse(text)
        values = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for test, decorators in _tests(tree):
            ids = frozenset(row for d in decorators for row in _ids(d, values))
            if ids:
                found[f"{name}::{test}"] = ids
    return found | _marked_suites()


def _tests(tree: ast.Module) -> Iterator[tuple[str, list[ast.expr]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.decorator_list
        elif isinstance(node, ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield (
                        f"{node.name}::{child.name}",
                        [*node.decorator_list, *child.decorator_list],
                    )


def _ids(decorator: ast.expr, values: dict[str, ast.expr]) -> Iterator[str]:
    """The rows in a decorator, and in the parameters that it names."""
    for node in ast.walk(decorator):
        if isinstance(node, ast.Name) and (value := values.get(node.id)) is not None:
            yield from _ids(value, {})
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            assert node.args, "a mark without a row"
            yield from (ast.literal_eval(row) for row in node.args)


def _marked_suites() -> dict[str, frozenset[str]]:
    """What is marked in the suites that are shipped, which know no such mark themselves."""
    for node in ast.parse(SUITES.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FAULTS":
            assert node.value is not None
            table: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return {name: frozenset(ids) for name, ids in table.items()}
    raise AssertionError(f"{SUITES} has no table FAULTS")


def test_every_row_is_there_once() -> None:
    """In a table, or below one of the two headings with what is missing."""
    unproven = _UNPROVEN.findall(section("Not proven yet") + section("Declined"))
    found = Counter([row for row, _ in _ROW.findall(PAGE)] + unproven)

    assert {row: count for row, count in found.items() if count > 1} == {}
    assert ALL - found.keys() == set()
    assert found.keys() - ALL == set()


def test_every_row_in_a_table_is_proven_by_the_tests_it_names() -> None:
    named = rows()

    assert [row for row, tests in named.items() if not tests] == []
    wrong = {
        row: lies
        for row, tests in named.items()
        if (lies := [test for test in tests if row not in marked().get(test, ())])
    }
    assert wrong == {}


def test_tests_of_suites_are_there() -> None:
    """Those of the project are found by their marks, in their own source."""
    functions: dict[str, set[str]] = defaultdict(set)
    for name in _marked_suites():
        path, _, test = name.partition("::")
        if not functions[path]:
            nodes = ast.walk(ast.parse((ROOT / path).read_text()))
            functions[path] = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert test in functions[path], name


def test_every_mark_names_a_row_of_a_table() -> None:
    """A row that has become proven is moved into its table."""
    known = rows().keys()
    strange = {test: odd for test, ids in marked().items() if (odd := ids - known)}

    assert strange == {}


def test_every_promise_names_rows_that_are_proven() -> None:
    promises = re.findall(r"^\* (.+(?:\n  .+)*)", section("What is promised"), re.MULTILINE)

    assert len(promises) > 10
    assert [promise for promise in promises if not _ID.search(promise)] == []
    prose = PAGE.split("\n## The register\n")[0]
    assert set(_ID.findall(prose)) - rows().keys() == set()
