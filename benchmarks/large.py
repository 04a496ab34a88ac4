"""What large states take: bytes stored where little changes from stage to stage, and memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

from milepost.checkpointing import CheckpointManager, CheckpointSettings

from .finding import Finding, finding

NAME = "large"
_STAGES = 30
_FIELDS = 100
_FIELD_BYTES = 500_000
_PEAK_MB = 100


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure 50 MB through 30 stages, and the memory that 100 MB need."""
    return [_shared(url), *_peaks(url, repeats or 1)]


def _shared(url: str) -> Finding:
    dice = random.Random(1)
    state = {f"field{n}": _text(dice, _FIELD_BYTES) for n in range(_FIELDS)}
    with CheckpointManager(url) as manager:
        for stage in range(_STAGES):
            state[f"field{dice.randrange(_FIELDS)}"] = _text(dice, _FIELD_BYTES)
            manager.create("bench-large", state, step_name=f"stage{stage}")
        stored = manager.usage("bench-large").bytes
        manager.create("bench-final", state)
        final = manager.usage("bench-final").bytes
        manager.delete_run("bench-large")
        manager.delete_run("bench-final")
    return finding(
        NAME,
        f"50 MB, {_STAGES} stages, 1 % changed by each: bytes stored / the final state's",
        "×",
        [stored / final],
        at_most=2.0,
        note=f"{stored / 1e6:.1f} against {final / 1e6:.1f} MB",
    )


def _peaks(url: str, repeats: int) -> list[Finding]:
    rows = []
    for verb in ("create", "restore"):
        peaks = []
        for _ in range(repeats):
            command = [sys.executable, "-m", "benchmarks.large", verb, url]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(json.loads(done.stdout)["peak_bytes"] / (_PEAK_MB * 1e6))
        rows.append(
            finding(
                NAME,
                f"{verb} of {_PEAK_MB} MB: peak memory over what the process had / size",
                "×",
                peaks,
            )
        )
    return rows


def _text(dice: random.Random, size: int) -> str:
    return b64encode(dice.randbytes(size * 3 // 4)).decode()


def _peak_of(verb: str, url: str) -> int:
    """Return how many bytes more *verb* took at its height than there were before."""
    settings = CheckpointSettings(max_record_bytes=256 * 1024 * 1024)
    with CheckpointManager(url, settings) as manager:
        manager.create("bench-peak-warm", {"x": 1})
        if verb == "create":
            state = {f"f{n}": _text(random.Random(n), 1_000_000) for n in range(_PEAK_MB)}
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        before = _memory("VmHWM")
        if verb == "create":
            manager.delete_run("bench-peak")
            manager.create("bench-peak", state)
        else:
            manager.restore("bench-peak")
        return _memory("VmHWM") - before


def _memory(field: str) -> int:
    """Return a figure of this process's memory in bytes, as Linux keeps it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    print(json.dumps({"peak_bytes": _peak_of(*sys.argv[1:])}))
