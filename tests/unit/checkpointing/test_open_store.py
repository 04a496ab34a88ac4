"""A store is found by the scheme of its URL, also where another distribution brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from milepost.checkpointing import Misconfigured, open_store
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

MODULE = """
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

class Shelf(MemoryCheckpointStore):
    def __init__(self, url, settings):
        super().__init__()
        self.url = url

def not_a_store(url, settings):
    return 7
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with two stores."""
    (tmp_path / "shelf_store.py").write_text(MODULE)
    info = tmp_path / "shelf_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[milepost.checkpoint_stores]\nshelf = shelf_store:Shelf\nodd = shelf_store:not_a_store\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shelf_store", raising=False)


@pytest.mark.usefixtures("distribution")
def test_a_store_of_another_distribution_is_found() -> None:
    store = open_store("shelf://a/b")
    assert isinstance(store, MemoryCheckpointStore)
    assert vars(store)["url"] == "shelf://a/b"


@pytest.mark.usefixtures("distribution")
def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(Misconfigured, match="odd:// names is a int, and no CheckpointStore"):
        open_store("odd://a")


@pytest.mark.usefixtures("distribution")
def test_an_unknown_scheme_is_told_what_there_is() -> None:
    with pytest.raises(Misconfigured) as caught:
        open_store("ftp://user:hidden@host")
    text = str(caught.value)
    assert "hidden" not in text
    for scheme in ("file", "memory", "postgresql", "redis", "s3", "shelf", "sqlite"):
        assert f"{scheme}://" in text
