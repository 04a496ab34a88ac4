"""S3 servers for tests: SeaweedFS, which locks create-only writes, and moto, which does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.server import ThreadedMotoServer

from .ports import free_ports
from .requirement import need_program
from .server import Server

BUCKET = "milepost-tests"
_KEY, _SECRET = "test-access-key", "test-secret-key"
_PORTS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
    "debug.port",
)


def store_url(endpoint: str, prefix: str, bucket: str = BUCKET) -> str:
    """Return the URL of a checkpoint store on *endpoint*."""
    options = urlencode({"endpoint_url": endpoint, "region_name": "us-east-1"})
    return f"s3://{_KEY}:{_SECRET}@{bucket}/{prefix}?{options}"


def s3_client(endpoint: str) -> Any:
    """Return a client that gives up at once."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=_KEY,
        aws_secret_access_key=_SECRET,
        config=Config(
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=10,
            s3={"addressing_style": "path"},
        ),
    )


class SeaweedServer(Server):
    """All of SeaweedFS in one process, in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-weed-"))
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the S3 server."""
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def start(self) -> Self:
        """Start, and return when an object can be written."""
        options = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": self.folder / "filer.sock",
            "s3.localSocket": self.folder / "s3.sock",
            **self._ports,
        }
        command = [need_program("weed"), "mini", *(f"-{k}={v}" for k, v in options.items())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            )
        self._wait_until_writable()
        return self

    def close(self) -> None:
        """End the server and remove its data; nothing in it is worth a slow, orderly end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.folder / "weed.log"

    def _wait_until_writable(self, seconds: float = 60.0) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        client = s3_client(self.endpoint)
        try:
            while True:
                try:
                    _make_bucket(client)
                    client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
                    client.delete_object(Bucket=BUCKET, Key="ready")
                    return
                except (BotoCoreError, ClientError):
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        log = self._log.read_text(errors="replace")[-4000:]
                        self.close()
                        raise RuntimeError(f"weed did not start:\n{log}") from None
                time.sleep(0.1)
        finally:
            client.close()


class MotoServer(Server):
    """moto's S3 in a thread of this process."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    @property
    def endpoint(self) -> str:
        """The URL of the S3 server."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def start(self) -> Self:
        """Start, with a bucket."""
        self._server.start()
        client = s3_client(self.endpoint)
        try:
            _make_bucket(client)
        finally:
            client.close()
        return self

    def close(self) -> None:
        """End the server; its data was in memory."""
        self._server.stop()


def _make_bucket(client: Any) -> None:
    try:
        client.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        if not error.response["Error"]["Code"].startswith("BucketAlready"):
            raise
