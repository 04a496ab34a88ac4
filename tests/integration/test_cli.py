"""The ``milepost`` command, as a shell runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milepost.worker import EmbeddedServer

PIPELINES = """
from pydantic import BaseModel
from milepost.tasks import Milepost, PermanentError

app = Milepost()


class Count(BaseModel):
    n: int = 0
    broken: bool = False


counting = app.pipeline("counting")


@counting.stage
def up(state: Count) -> Count:
    return Count(n=state.n + 1, broken=state.broken)


@counting.stage
def check(state: Count) -> Count:
    if state.broken:
        raise PermanentError("it is broken: redis://user:hunter2@host/0")
    return state
"""


class Shell:
    """Runs ``milepost`` in a folder with an embedded server of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MILEPOST_")}
        self.env |= {"COLUMNS": "160"}
        self.env |= {"MILEPOST_HOME": str(folder / "home"), "MILEPOST_APP": "counted"}

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "milepost.control.cli", *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert code == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*words, "--json", code=code).splitlines()]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a module of pipelines, a server and a worker."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "counted.py").write_text(PIPELINES)
    shell = Shell(folder)
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "milepost.control.cli", "worker", "-c", "1"],
            cwd=folder,
            env=shell.env,
            stdout=log,
            stderr=log,
        )
    yield shell
    worker.terminate()
    assert worker.wait(timeout=30) == 0, (folder / "worker.log").read_text()
    EmbeddedServer(folder / "home").stop()


def test_a_run_from_start_to_end(shell: Shell) -> None:
    """Start, watch, status, runs, checkpoints."""
    assert "run-1" in shell("start", "counting", '{"n": 4}', "--run-id", "run-1", "--tag", "x")
    assert shell.json("watch", "run-1", "--timeout", "30s")[-1]["status"] == "completed"
    assert shell.json("status", "run-1")[0]["stages_done"] == 2
    assert "completed" in shell("status", "run-1")
    assert json.loads(shell("result", "run-1", "--timeout", "30s"))["n"] == 5
    assert [row["run_id"] for row in shell.json("runs", "--tag", "x")] == ["run-1"]
    assert "run-1" in shell("runs", "--status", "completed", "--since", "1h")
    assert [row["sequence"] for row in shell.json("checkpoints", "run-1")] == [2, 1, 0]
    assert shell.json("checkpoints", "run-1", "--state") == [{"n": 5, "broken": False}]


def test_a_run_for_each_line_of_a_file(shell: Shell) -> None:
    """All or, if a line is wrong, none of its thousand."""
    file = shell.folder / "states.jsonl"
    file.write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    ids = shell("start", "counting", "--states", str(file), "--tag", "many").split()
    assert len(ids) == 3
    for name, n in zip(ids, (2, 3, 4), strict=True):
        assert json.loads(shell("result", name, "--timeout", "30s"))["n"] == n
    file.write_text('{"n": 1}\n{"n":\n')
    assert "Line 2 is no JSON" in shell("start", "counting", "--states", str(file), code=2)
    assert len(shell.json("runs", "--tag", "many")) == 3


def test_a_failed_run_and_its_retry(shell: Shell) -> None:
    """Exit code 1, the reason without the password, and retry in bulk."""
    state = '{"broken": true}'
    shown = shell("start", "counting", state, "--run-id", "bad", "--watch", code=1)
    assert "PermanentError: it is broken" in shown
    assert "hunter2" not in shell("status", "bad")
    assert "1 run would be retried" in shell("retry", "--status", "failed", "--dry-run")
    assert shell.json("retry", "--status", "failed", "--pipeline", "counting")[0]["done"] == 1
    assert shell.json("watch", "bad", "--timeout", "30s", code=1)[-1]["status"] == "failed"


def test_the_same_id_again(shell: Shell) -> None:
    """The same input is the same run; another is refused."""
    shell("start", "counting", '{"n": 1}', "--run-id", "twice")
    shell("start", "counting", '{"n": 1}', "--run-id", "twice")
    assert "another input" in shell("start", "counting", '{"n": 2}', "--run-id", "twice", code=4)


def test_a_run_is_paused_edited_rewound_forked_and_deleted(shell: Shell) -> None:
    """Each by a word; who did it is noted."""
    start = ("start", "counting", '{"broken": true}', "--run-id")
    shell(*start, "mend", "--tenant", "acme", "--priority", "0", "--watch", code=1)
    assert "edited" in shell("edit", "mend", "--patch", '{"broken": false}')
    assert shell.json("pause", "--group", "none", "--dry-run")[0]["found"] == 0
    shell("retry", "mend")
    shell("watch", "mend", "--timeout", "30s")
    shell("rewind", "mend", "--to", "check")
    shell("watch", "mend", "--timeout", "30s")
    assert "rewound to check" in " ".join(shell("checkpoints", "mend").split())
    assert [row["run_id"] for row in shell.json("runs", "--tenant", "acme")] == ["mend"]
    assert shell("fork", "mend", "--at", "check", "--run-id", "mend-2").strip() == "mend-2"
    assert shell.json("watch", "mend-2", "--timeout", "30s")[-1]["origin"].startswith("mend/")
    commands = [row["command"] for row in shell.json("notes", "mend")]
    assert commands == ["fork", "rewind", "retry", "edit"]
    shell("start", "counting", "--run-id", "later", "--at", "2999-01-01T00:00+00:00")
    assert shell.json("pause", "later")[0]["status"] == "paused"
    assert "later deleted" in shell("delete", "later")
    assert "delete" in shell("notes")


def test_a_group_is_retried_behind_its_canary(shell: Shell) -> None:
    """While the canary fails, the others are left alone."""
    for number in range(3):
        state = f'{{"broken": true, "n": {number}}}'
        shell(
            "start",
            "counting",
            state,
            "--run-id",
            f"sick-{number}",
            "--tag",
            "sick",
            "--watch",
            code=1,
        )
    groups = [row for row in shell.json("failures") if row["example"]["run_id"].startswith("sick")]
    group = groups[0]["group"]
    assert "it is broken" in shell("failures")
    chosen = ("--group", group, "--tag", "sick")
    assert "the others are left alone" in shell("retry", *chosen, "--canary", "30s", code=1)
    assert "3 runs would be edited" in shell("edit", *chosen, "--patch", "{}", "--dry-run")
    assert "3 runs were edited" in shell("edit", *chosen, "--patch", '{"broken": false}')
    shown = shell("retry", *chosen, "--canary", "30s", "--rate", "100")
    assert "Canary sick-2 got past check" in shown
    assert "2 runs were retried" in shown
    for number in range(3):
        shell("watch", f"sick-{number}", "--timeout", "30s")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["start", "nothing"], 2, "No pipeline 'nothing' is defined here; known: counting."),
        (["start", "counting", "{"], 2, "The state is no JSON"),
        (["start", "counting", '{"n": "x"}'], 2, "stage up expects: state.n"),
        (["start", "counting", "--run-id", "../etc/passwd"], 2, "is not a valid run id"),
        (["status", "nobody"], 3, "No run nobody"),
        (["retry", "nobody"], 3, "No run nobody"),
        (["cancel", "run-1"], 4, "is completed"),
        (["-A", "no.such.module", "runs"], 2, "No such option"),
        (["runs", "-A", "no.such.module"], 2, "No module 'no.such.module'"),
        (
            ["runs", "-A", "counted.py"],
            2,
            "'counted.py' is no module: expected a name as in `import`",
        ),
        (["runs", "-A", "./counted"], 2, "'./counted' is no module"),
        (["runs", "-A", "unclosed"], 2, "unclosed.py, line 1): '(' was never closed"),
        (
            ["runs", "-A", "lacking"],
            2,
            "lacking.py, line 2): No module named 'nowhere_to_be_found'",
        ),
        (["runs", "--since", "yesterday"], 2, "expected how long ago it was, such as 90m"),
        (["statsu"], 2, "No such command 'statsu'. Did you mean 'status'?"),
        (["retry"], 2, "Name runs, or choose them with --status, --pipeline"),
        (["cancel", "run-1", "--pipeline", "counting"], 2, "not both"),
        (["rewind", "run-1"], 2, "either a stage or a checkpoint"),
        (["rewind", "run-1", "--to", "nowhere"], 2, "has no stage 'nowhere'; it has up, check"),
        (["edit", "run-1"], 2, "either --patch or --state"),
        (["edit", "run-1", "--patch", "{"], 2, "The patch is no JSON"),
        (["edit", "run-1", "--patch", "{}"], 4, "is completed; only a run"),
        (["skip", "nobody"], 3, "No run nobody"),
        (["result", "nobody"], 3, "No run nobody"),
        (["pause", "run-1"], 4, "is completed"),
        (["runs", "--since", "2030-13-01"], 2, "is no time"),
        (["start", "counting", "--at", "tomorrow"], 2, "is no time"),
        (["start", "counting", "--budget", "usd=much"], 2, "is no amount"),
        (["start", "counting", "--delay", "1h", "--at", "2030-01-01"], 2, "not both"),
    ],
)
def test_one_clear_error(shell: Shell, words: list[str], code: int, says: str) -> None:
    """And an exit code that scripts can use."""
    shell("start", "counting", '{"n": 4}', "--run-id", "run-1", "--tag", "x", "--watch")
    (shell.folder / "unclosed.py").write_text("x = (\n")
    (shell.folder / "lacking.py").write_text("import json\nimport nowhere_to_be_found\n")
    shown = shell(*words, code=code)

    assert says in shown
    assert "Traceback" not in shown


def test_a_server_that_is_down_is_named_without_its_password(shell: Shell) -> None:
    """The URL, and what to do."""
    shell.env["MILEPOST_URL"] = "redis://:hunter2@127.0.0.1:1/0"
    try:
        shown = shell("status", "x", code=5)
    finally:
        del shell.env["MILEPOST_URL"]

    assert "redis://:***@127.0.0.1:1/0" in shown
    assert "hunter2" not in shown


def test_a_broker_that_is_no_url(shell: Shell) -> None:
    """It is named, with what one looks like."""
    shell.env["MILEPOST_URL"] = "localhost:6379"
    try:
        shown = shell("runs", code=2)
    finally:
        del shell.env["MILEPOST_URL"]

    assert (
        "The broker 'localhost:6379' is no URL: expected one such as redis://host:6379/0." in shown
    )


def test_an_empty_list_says_where_it_looked(shell: Shell) -> None:
    """A folder too far up is otherwise not noticed."""
    shown = shell("runs", "--pipeline", "cuonting")

    assert "No run that meets these conditions is in redis+socket://" in shown
    assert "There is no key" in shell("keys", "list")


def test_a_bulk_command_is_noted_as_it_was_given(shell: Shell) -> None:
    """By its conditions."""
    shell("resume", "--pipeline", "absent", "--since", "2030-01-31T00:00+00:00")

    noted = shell.json("notes")[0]
    assert noted["command"] == "bulk resume"
    assert noted["detail"] == "pipeline=absent since=2030-01-31T00:00:00Z"


def test_whoever_watches_is_told_that_nobody_takes_the_run(shell: Shell) -> None:
    """And which queue that is."""
    (shell.folder / "apart.py").write_text(
        "from milepost.tasks import Milepost\n"
        "app = Milepost()\n"
        "@app.pipeline('apart').stage(queue='far')\n"
        "def only(state: dict) -> dict:\n"
        "    return state\n"
    )
    run_id = shell("start", "apart", "{}", "-A", "apart").strip()

    shown = shell("watch", run_id, "-A", "apart", "--timeout", "100ms", code=6)
    assert f"Run {run_id}\n" in shown
    assert (
        "No worker takes from queue far: start one with milepost worker -A MODULE -Q far." in shown
    )


def test_a_server_that_is_stopped(shell: Shell, tmp_path: Path) -> None:
    """What was done is said, and what is there."""
    aside = Shell(tmp_path)

    aside("server", "start")
    assert f"stopped; its data is in {tmp_path / 'home'}" in aside("server", "stop")
    assert "not running; its data is in" in aside("server", "stop")


def test_the_server_command(shell: Shell) -> None:
    """It says where the server is, and that there is one."""
    assert shell.json("server", "status")[0]["up"]


def test_completion_is_printed(shell: Shell) -> None:
    """For the shells that click knows."""
    assert "_MILEPOST_COMPLETE" in shell("completion", "bash")
