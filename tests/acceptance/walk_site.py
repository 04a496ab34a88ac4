"""The shop of the walk: everything that ``milepost up`` starts, and the code with its bug."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from milepost.control.client import Client
from milepost.worker import EmbeddedServer
from support.ports import free_port
from support.processes import IMPORTS
from support.waiting import eventually

_SHOP = """
from hashlib import pbkdf2_hmac

from pydantic import BaseModel

from milepost.tasks import Milepost

app = Milepost()
RATES = {"EUR": 1.0, "USD": 0.9}


class Order(BaseModel):
    number: int
    currency: str = "EUR"
    total: float = 10.0
    receipt: str = ""


orders = app.pipeline("orders")


@orders.stage
def charge(order: Order) -> Order:
    return order.model_copy(update={"total": order.total * RATES[order.currency]})


@orders.stage
def sign(order: Order) -> Order:
    receipt = pbkdf2_hmac("sha256", str(order.number).encode(), b"shop", 30_000)
    return order.model_copy(update={"receipt": receipt.hex()})
"""
_SIGN_IN = re.compile(r"http://\S+/sign-in\?code=\S+")
_KEY = re.compile(r"mp_local_\S+")


class Shop:
    """``milepost up`` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "shop.py"
        self.code.write_text(_SHOP)
        self.log = folder / "up.log"
        self.flower_url = f"http://127.0.0.1:{free_port()}"
        self._api_port = free_port()
        self._home = folder / "home"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        env = {name: v for name, v in os.environ.items() if not name.startswith("MILEPOST_")}
        env |= {
            "MILEPOST_HOME": str(self._home),
            "MILEPOST_LOCK_DIRECTORY": str(self.folder),
            "PYTHONPATH": IMPORTS,
            "PYTHONWARNINGS": "",
        }
        command = [sys.executable, "-m", "milepost.control.cli", "up", "-A", "shop"]
        ports = ["--api-port", str(self._api_port), "--flower-port", self.flower_url.split(":")[2]]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-n", "2", "-c", "2", *ports],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: _SIGN_IN.search(self.said), 60, lambda: self.said)
        eventually(lambda: self.said.count("celery@") + self.workers() == 2, 60, lambda: self.said)
        return self

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def sign_in(self) -> str:
        """The link that signs in once."""
        found = _SIGN_IN.search(self.said)
        assert found
        return found[0]

    @property
    def url(self) -> str:
        """Where the API and the dashboard are."""
        return f"http://127.0.0.1:{self._api_port}"

    def client(self) -> Client:
        """Return a client of the API with the key that was printed."""
        found = _KEY.search(self.said)
        assert found
        return Client(self.url, found[0])

    def workers(self) -> int:
        """Return how many workers are up."""
        with self.client() as client:
            return sum(worker.state == "up" for worker in client.workers())

    def repair(self) -> None:
        """Do what the developer does who has read the traceback."""
        text = self.code.read_text()
        self.code.write_text(text.replace('"USD": 0.9}', '"USD": 0.9, "CHF": 1.06}'))

    def end(self) -> int:
        """Press Ctrl-C and return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        EmbeddedServer(self._home).stop()
