"""Of several processes that write one number, one wins."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import pytest

from ..stores import CheckpointStore
from .records import make_record
from .writing import WritingContract

_NUMBERS = 40


class RacingContract:
    """`put` from two processes at once."""

    atomic_create: ClassVar[bool] = WritingContract.atomic_create

    @pytest.fixture
    def address(self) -> str | None:
        """The URL under which another process opens the same store; None: there is no such thing."""
        return None

    def test_of_two_processes_one_wins_each_number(
        self, store: CheckpointStore, address: str | None
    ) -> None:
        if address is None:
            pytest.skip("no address is given: another process cannot open this store")
        if not self.atomic_create:
            pytest.skip("atomic_create is declared False: this server has no lock")
        command = [sys.executable, "-m", f"{__package__}.racer", address]
        racers = {
            name: subprocess.Popen(
                [*command, name, str(_NUMBERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("one", "two")
        }
        won: dict[str, set[int]] = {}
        try:
            for racer in racers.values():
                assert racer.stdout is not None
                assert racer.stdout.readline() == "ready\n"
            for racer in racers.values():
                assert racer.stdin is not None
                racer.stdin.write("\n")
                racer.stdin.flush()
            for name, racer in racers.items():
                won[name] = {int(word) for word in racer.communicate(timeout=60)[0].split()}
        finally:
            for racer in racers.values():
                racer.kill()
                racer.communicate()
        assert won["one"] | won["two"] == set(range(_NUMBERS))
        assert won["one"] & won["two"] == set()
        for name, numbers in won.items():
            for sequence in numbers:
                record = make_record("race", sequence, note=name)
                assert store.get(record.key) == record
