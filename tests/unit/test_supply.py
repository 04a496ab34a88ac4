"""What is installed is what was tested, and what was not asked for is not loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "deploy").glob("*.lock"))]
EXTRAS = {"boto3", "sqlalchemy", "psycopg", "msgpack", "cryptography", "flower", "fastapi"}
EXTRAS |= {"langgraph", "numpy", "pandas", "pyarrow", "opentelemetry", "prometheus_client"}


@pytest.mark.fault("S17")
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_pinned_by_version_and_hash(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]

    assert packages
    assert [p for p in packages if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", p)] == []


@pytest.mark.fault("S17")
@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile"])
def test_packages_are_installed_by_their_hashes(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if re.search(r"pip\S* .*install.* -r ", line)]

    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []


@pytest.mark.fault("S17")
def test_optional_packages_are_loaded_by_who_uses_them() -> None:
    """A compromised extra does nothing to who does not use it."""

    def loaded(modules: str) -> set[str]:
        script = f"import sys, {modules}; print(*sys.modules)"
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {name.partition(".")[0] for name in done.stdout.split()}

    # Some are looked for by Celery and by Redis' client themselves.
    theirs = loaded("celery.app.amqp, kombu.transport.redis, redis.asyncio, celery.bin.celery")
    assert (loaded("milepost.tasks, milepost.worker.install") - theirs) & EXTRAS == set()
