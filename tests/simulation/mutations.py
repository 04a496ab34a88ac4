"""Whether the simulation bites: protections are switched off in a copy, one at a time, and it has to go red.

``make mutations``, or some of them: ``python -m simulation.mutations token "parent check"``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("checkpointing", "tasks", "worker", "control")
TASKS = "tasks/milepost/tasks/"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A protection, and the text that switches it off."""

    name: str
    path: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "token and nonce at commit",
        TASKS + "runs/bookkeeper.py",
        "return bool(claim.nonce) and (head.token, head.nonce) == (claim.token, claim.nonce)",
        "return bool(claim.nonce)",
    ),
    Mutation(
        "rising token",
        TASKS + "runs/claims.py",
        "token=head.token + 1,\n            attempt",
        "token=head.token,\n            attempt",
    ),
    Mutation(
        "claim of a living owner",
        TASKS + "runs/claims.py",
        "    if head.status is RunStatus.RUNNING:\n        return Refusal.DUPLICATE\n",
        "",
    ),
    Mutation(
        "create-only put",
        "checkpointing/milepost/checkpointing/stores/memory.py",
        "stands = self._runs.setdefault(key.run_id, {}).setdefault(key.path, record)",
        "stands = self._runs.setdefault(key.run_id, {})[key.path] = record",
    ),
    Mutation(
        "body before head",
        TASKS + "commits.py",
        "        if self._runtime.log_in_runs:\n"
        "            return self.advance(place, claim, metadata, record, burst)\n",
        "        said = self.advance(place, claim, metadata, record, burst)\n"
        "        if not self._runtime.log_in_runs:\n            self._log.put(record)\n"
        "        return said\n",
    ),
    Mutation(
        "head before message",
        TASKS + "commits.py",
        "        outcome = self._patiently(self._runs.advance, claim, commit)\n",
        "        if routed is not None and push is None and bid is None:\n"
        "            step = Step(head.run_id, metadata.sequence, routed.stage, metadata.timeline)\n"
        "            out = self._runtime.dispatch.outbox\n"
        '            out.publish(f"{pipeline.name}.{routed.stage}", step, routed.queue, 0)\n'
        "        outcome = self._patiently(self._runs.advance, claim, commit)\n",
    ),
    Mutation(
        "attempt counter",
        TASKS + "runs/claims.py",
        "attempt=head.attempt + 1,",
        "attempt=max(1, head.attempt),",
    ),
    Mutation(
        "crash counter",
        TASKS + "runs/claims.py",
        "            crashes += 1\n",
        "            pass\n",
    ),
    Mutation(
        "hand-backs count as nothing",
        TASKS + "runs/claims.py",
        'elif cause == "owner":',
        'elif cause in ("owner", "leaving", "leak"):',
    ),
    Mutation(
        "reconciler publishes what was lost",
        TASKS + "reconcile.py",
        "        if not head.published_at:\n",
        "        if head.status is RunStatus.QUEUED:\n            return False\n"
        "        if not head.published_at:\n",
    ),
    Mutation(
        "owners that fell silent are buried",
        TASKS + "runs/claims.py",
        "lapsed = [name for name, entry in owners.items() if entry.until <= now]",
        "lapsed: list[str] = []",
    ),
    Mutation(
        "a heartbeat frees what it does not name",
        TASKS + "runs/claims.py",
        "if head.nonce not in held and head.ordinal <= as_of:",
        "if False:",
    ),
    Mutation(
        "intents are completed",
        TASKS + "reconcile.py",
        "            self._runtime.intents.complete(head)\n",
        "            pass\n",
    ),
    Mutation(
        "intents are completed by other code",
        TASKS + "intents.py",
        'stage = pipeline.stages.get(pipeline.due_now(wanted) or "", pipeline.first)',
        "stage = pipeline.stages[wanted]",
    ),
    Mutation(
        "an intent raises the token",
        TASKS + "runs/booked_commands.py",
        "            self._claims(book).unclaim(head)\n            book.change(\n                run_id,\n"
        "                status=intent.status,\n                timeline=head.timeline + 1,\n"
        "                token=head.token + 1,",
        "            book.change(\n                run_id,\n"
        "                status=intent.status,\n                timeline=head.timeline,\n"
        "                token=head.token,",
    ),
    Mutation(
        "parent check at adoption",
        TASKS + "run_log.py",
        "return metadata if same and metadata.parent == head.checkpoint_id else None",
        "return metadata if same else None",
    ),
    Mutation(
        "probe of the next number",
        TASKS + "run_log.py",
        "record = self._log.latest(head.run_id, lane=head.lane)",
        "record = None",
    ),
    Mutation(
        "self-fencing",
        TASKS + "commits.py",
        "        owner = self._runtime.owner\n        if not owner.is_fresh:\n            owner.beat()\n"
        "        if owner.has_lost(bid):\n            raise ClaimLost\n",
        "        return\n",
    ),
    Mutation(
        "self-fencing at each try",
        TASKS + "commits.py",
        "                self._patiently(self._guarded, bid, self._log.put, record)\n",
        "                self._patiently(self.guard, bid)\n"
        "                self._patiently(self._log.put, record)\n",
    ),
    Mutation(
        "self-fencing at each try of the journal",
        TASKS + "scratch.py",
        "                self._patiently(self._put_guarded, record)\n",
        "                self._patiently(self._guard)\n"
        "                self._patiently(self._log.put, record)\n",
    ),
    Mutation(
        "a run that has moved on is not resumed",
        TASKS + "runs/booked_commands.py",
        "            if now.status is not expected or now.timeline != head.timeline:\n"
        "                return False\n",
        "",
    ),
    Mutation(
        "a look ends with its lease",
        TASKS + "reconcile.py",
        "            if clock() >= until:\n                break\n",
        "",
    ),
    Mutation(
        "journal of what was done once",
        TASKS + "scratch.py",
        "        if stands is not None:\n            return stands.state\n",
        "",
    ),
)


def survives(mutation: Mutation) -> tuple[bool, str]:
    """Return whether nothing notices, and the last that was said."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for room in ROOMS:
            shutil.copytree(ROOT / room, copy / room)
        shutil.copytree(Path(__file__).parent, copy / "tests" / "simulation")
        (copy / "tests" / "conftest.py").write_text(_OPTION)
        target = copy / mutation.path
        text = target.read_text()
        assert text.count(mutation.old) == 1, f"{mutation.name}: its text is not in {mutation.path}"
        target.write_text(text.replace(mutation.old, mutation.new))
        paths = [str(copy / room) for room in ROOMS] + [str(copy / "tests")]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "--import-mode=importlib", "-p", "no:cacheprovider",
             "--tb=line", "tests/simulation"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
        )  # fmt: skip
    said = [line for line in ended.stdout.splitlines() if "Broken" in line or "rror" in line]
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.returncode == 0, (said or [""])[0].strip()[-110:]


_OPTION = """def pytest_addoption(parser):
    parser.addoption("--seed", type=int)
"""


def main(wanted: list[str]) -> int:
    """Try mutations, all by default; 1 if one survives."""
    survivors = 0
    for mutation in MUTATIONS:
        if wanted and not any(word in mutation.name for word in wanted):
            continue
        began = time.monotonic()
        alive, said = survives(mutation)
        survivors += alive
        found = "SURVIVES" if alive else "found"
        print(f"{found:9}{mutation.name:42}{time.monotonic() - began:5.0f} s  {said}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
