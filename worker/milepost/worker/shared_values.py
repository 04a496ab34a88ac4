"""Counting together: the values of a worker's processes, in files that outlive whoever wrote them."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from prometheus_client import CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from milepost.tasks import liveness

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_ENDED = 0
"""The process id under which the counts of processes stand that have ended."""


class SharedValues:
    """prometheus-client's multi-process mode, for this process and those forked from it.

    Each writes files of its own in one folder, so nothing that was counted is lost when a process is killed.
    What ended processes have left is added up into one file at each look, or a worker that renews its
    processes would have to read more and more. The folder goes with the worker; those of workers that
    were killed are removed by the next one. A folder that ``PROMETHEUS_MULTIPROC_DIR`` names is left as it
    is: cleaning it is for whoever named it.

    Args:
        home: Where the folder is made: this user's, open to nobody else.
    """

    def __init__(self, home: Path) -> None:
        self._looking = threading.Lock()
        given = os.environ.get(_VARIABLE)
        self._own = given is None
        if given is not None:
            self._folder = Path(given)
        else:
            _remove_abandoned(home)
            self._folder = Path(mkdtemp(prefix="metrics-", dir=home))
            # The kernel opens it when the last process of this worker has ended.
            self._lock = (self._folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.environ[_VARIABLE] = str(self._folder)
        self._pid = os.getpid()
        if not getattr(values.ValueClass, "_multiprocess", False):
            # The application imported prometheus-client before the variable was set. What it has made so far
            # stays in its process, as it would have.
            values.ValueClass = values.get_value_class()

    def register(self, registry: CollectorRegistry) -> None:
        """Let *registry* collect what all processes have counted."""
        collector = MultiProcessCollector(None, path=str(self._folder))
        registry.register(_Collector(self, collector))

    def collect(self, collector: MultiProcessCollector) -> Iterable[Metric]:
        with self._looking:
            if self._own:
                self._add_up()
            return list(collector.collect())

    def close(self) -> None:
        """Remove the folder, if it is this process's."""
        if self._own and os.getpid() == self._pid:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()

    def _add_up(self) -> None:
        for path in self._folder.glob("*_*.db"):
            kind, _, pid = path.stem.rpartition("_")
            if pid == str(_ENDED) or liveness.lives(int(pid)):
                continue
            if not kind.startswith("gauge"):
                total = MmapedDict(str(self._folder / f"{kind}_{_ENDED}.db"))
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                    total.write_value(key, total.read_value(key)[0] + value, 0.0)
                total.close()
            path.unlink(missing_ok=True)


class _Collector:
    """What a registry asks."""

    def __init__(self, shared: SharedValues, collector: MultiProcessCollector) -> None:
        self._shared = shared
        self._collector = collector

    def describe(self) -> list[Metric]:
        """Name nothing: the files say what there is."""
        return []

    def collect(self) -> Iterable[Metric]:
        return self._shared.collect(self._collector)


def _remove_abandoned(home: Path) -> None:
    for folder in home.glob("metrics-*"):
        with suppress(OSError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
