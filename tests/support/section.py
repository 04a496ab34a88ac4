"""Runs one section of a page in the current folder: ``python -m support.section PAGE TITLE``.

A Python block whose first line is ``# name.py`` is written to that file, as is any other whose first line is
``# file: name``; other Python blocks are run, with ``await`` allowed; lines of console blocks that begin
with ``$`` are commands, in the background if they end with ``&`` until the section is over.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from types import CodeType
from typing import Any

from support.pages import FOLDER, Block, sections

_NAMED = re.compile(r"# (?:file: )?([A-Za-z0-9_-]+\.[a-z]+)")


def main(page: str, title: str) -> None:
    """Run the section; any error ends the process with a traceback."""
    found = [s for s in sections(FOLDER / f"{page}.md") if s.title == title]
    background: list[subprocess.Popen[bytes]] = []
    names: dict[str, Any] = {"__name__": "__section__"}
    sys.path.insert(0, os.getcwd())
    try:
        with asyncio.Runner() as runner:
            for block in found[0].blocks:
                print(f"--- {block.language}", flush=True)
                _run(block, names, runner, background)
    finally:
        for process in background:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 20
        for process in background:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _run(
    block: Block,
    names: dict[str, Any],
    runner: asyncio.Runner,
    background: list[subprocess.Popen[bytes]],
) -> None:
    text = _with_real_servers(block.text)
    named = _NAMED.fullmatch(text.partition("\n")[0])
    if named:
        Path(named[1]).write_text(text + "\n")
    elif block.language == "console":
        for line in text.splitlines():
            if line.startswith("$ "):
                _command(line[2:].strip(), background)
    elif block.language == "python":
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(text, "<section>", "exec", flags=flags)
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, names))
        else:
            exec(code, names)


def _command(line: str, background: list[subprocess.Popen[bytes]]) -> None:
    print(f"$ {line}", flush=True)
    if line.endswith("&"):
        background.append(subprocess.Popen(["bash", "-c", "exec " + line[:-1]]))
    else:
        subprocess.run(["bash", "-c", line], check=True, timeout=60)


def _with_real_servers(text: str) -> str:
    """Put the tests' servers in the place of those that a page names."""
    redis, postgres, s3 = (os.environ[name] for name in ("REAL_REDIS", "REAL_POSTGRES", "REAL_S3"))
    text = text.replace("redis://localhost:6379/0", redis)
    text = text.replace("postgresql://localhost/milepost", postgres)
    parts = urllib.parse.urlsplit(s3)
    place = f"s3://{parts.netloc}/{parts.path.strip('/')}/\\1?{parts.query}"
    text = re.sub(r"s3://my-bucket/([a-z-]+)", place, text)
    bucket = parts.netloc.rpartition("@")[2]
    return text.replace("my-bucket", bucket)


if __name__ == "__main__":
    main(*sys.argv[1:])
