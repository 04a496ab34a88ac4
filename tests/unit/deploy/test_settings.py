"""What the files say to Milepost, Milepost understands."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from milepost.checkpointing.environment import Environment
from milepost.control.cli import _COMMANDS
from milepost.control.options import app_option
from support.deployment import DEPLOY, ROOT, pods, stages, texts, unit, units

GUIDE = ROOT / "docs/guides/deploy.md"
_NAME = re.compile(r"MILEPOST_[A-Z][A-Z0-9_]*")


def _known() -> set[str]:
    """All settings there are, and what the command line reads beside them."""
    for path in ROOT.glob("*/milepost/**/settings.py"):
        import_module(".".join(path.relative_to(ROOT).with_suffix("").parts[1:]))
    pending, fields = [Environment], set()
    while pending:
        each = pending.pop()
        pending += each.__subclasses__()
        fields |= {f"MILEPOST_{name.upper()}" for name in each.model_fields}

    @app_option
    def command() -> None: ...

    return fields | {p.envvar for p in command.__click_params__}  # type: ignore[attr-defined]


def _used() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, text in {**texts(), GUIDE: GUIDE.read_text()}.items():
        for name in _NAME.findall(text):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def _commands() -> dict[str, set[str]]:
    """The first word that each way to run Milepost gives it."""
    file = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    found: dict[str, set[str]] = {}
    for where, command in [
        ("Dockerfile", next(c.value[0] for c in stages()[-1] if c.cmd == "CMD")),
        *(
            ("compose.yaml", file["services"][name]["command"][0])
            for name in ("worker", "api", "flower")
        ),
        *((name, pod["containers"][0]["args"][0]) for name, pod in pods().items()),
        *((name, unit(name)["ExecStart"][0].split()[1]) for name in units()),
        *(
            (str(path), word)
            for path, text in texts().items()
            for word in re.findall(r"\b(?:milepost|api|--) (keys) create", text)
        ),
    ]:
        found.setdefault(command, set()).add(where)
    return found


@pytest.mark.parametrize("name", sorted(_used()))
def test_every_variable_is_a_setting(name: str) -> None:
    assert name in _known(), f"in {_used()[name]}"


@pytest.mark.parametrize("command", ["api", "flower", "keys", "worker"])
def test_every_command_exists(command: str) -> None:
    assert command in _commands()
    assert command in _COMMANDS, f"in {_commands()[command]}"


def test_no_other_command_is_used() -> None:
    assert {*_commands()} == {"api", "flower", "keys", "worker"}


def test_the_guide_names_files_that_exist() -> None:
    found = re.findall(r"\bdeploy/[\w./-]*[\w]", GUIDE.read_text())
    theirs = ("deploy/milepost-", "deploy/.env", "deploy/compose.override")
    named = {name for name in found if not name.startswith(theirs)}

    assert len(named) >= 6
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_sigterm_keeps_its_meaning() -> None:
    """Celery's REMAP_SIGTERM would end stages at once, without their saving anything."""
    assert not [path for path, text in texts().items() if "REMAP_SIGTERM=" in text]


def test_no_password_is_anybodys() -> None:
    usual = re.compile(r"admin:admin|changeme|password123|guest:guest|minioadmin", re.I)

    assert [str(path) for path, text in texts().items() if usual.search(text)] == []


def test_the_example_is_what_the_environment_names() -> None:
    written = (DEPLOY / "new_env.py").read_text()

    assert "MILEPOST_APP=hello" in written
    assert "APP_FOLDER=./example" in written
    assert Path(DEPLOY / "example" / "hello.py").is_file()
