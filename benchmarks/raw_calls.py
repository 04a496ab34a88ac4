"""The least a client can do to keep some bytes in each kind of store: what stores are measured against."""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from milepost.checkpointing import CheckpointSettings
from milepost.checkpointing.stores.s3_client import open_client


class RawCalls(ABC):
    """Writes bytes under a new name so that they stay, and reads them."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Keep *data*."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return what was kept."""


class RawRedis(RawCalls):
    """SET and GET."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def write(self, name: str, data: bytes) -> None:
        self._client.set(name, data)

    def read(self, name: str) -> bytes:
        found: Any = self._client.get(name)
        return bytes(found)


class RawFiles(RawCalls):
    """Write, fsync and rename; read."""

    def __init__(self, url: str) -> None:
        self._folder = Path(f"{urlsplit(url).path}-raw")
        self._folder.mkdir()

    def write(self, name: str, data: bytes) -> None:
        temporary = self._folder / f"{name}.new"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._folder / name)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()


class RawSQLite(RawCalls):
    """INSERT that commits, with the same journal; SELECT."""

    def __init__(self, url: str) -> None:
        path = f"{urlsplit(url).path[1:]}-raw"
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("CREATE TABLE raw (name TEXT PRIMARY KEY, data BLOB)")

    def write(self, name: str, data: bytes) -> None:
        self._database.execute("INSERT INTO raw VALUES (?, ?)", (name, data))

    def read(self, name: str) -> bytes:
        query = "SELECT data FROM raw WHERE name = ?"
        return bytes(self._database.execute(query, (name,)).fetchone()[0])


class RawPostgres(RawCalls):
    """INSERT that commits; SELECT."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("CREATE TABLE raw (name TEXT PRIMARY KEY, data BYTEA)")

    def write(self, name: str, data: bytes) -> None:
        self._connection.execute("INSERT INTO raw VALUES (%s, %s)", (name, data))

    def read(self, name: str) -> bytes:
        row = self._connection.execute("SELECT data FROM raw WHERE name = %s", (name,)).fetchone()
        assert row is not None
        return bytes(row[0])


class RawS3(RawCalls):
    """PutObject and GetObject."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        settings = CheckpointSettings()
        self._client = open_client(parts.username, parts.password, options, settings)
        self._bucket = parts.hostname

    def write(self, name: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"raw/{name}", Body=data)

    def read(self, name: str) -> bytes:
        reply = self._client.get_object(Bucket=self._bucket, Key=f"raw/{name}")
        return bytes(reply["Body"].read())
