"""The flights example: chart, report and artifacts."""

import os
import struct
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from examples.flights import (
    artifacts,
    chart,
    findings,
    page,
    state,
)
from examples.flights.record import Artifact, Count
from examples.flights.theme import DARK, LIGHT

Row = dict[str, str]
Tables = dict[str, pd.DataFrame]
Joined = tuple[pd.DataFrame, pd.DataFrame]


def test_the_chart_is_a_png_of_the_promised_size_and_the_same_each_time(
    figures: chart.Figures,
) -> None:
    light, again, dark = (chart.draw(figures, theme) for theme in (LIGHT, LIGHT, DARK))
    assert light == again
    assert light != dark
    for picture in (light, dark):
        kinds, size, pixels = _png(picture)
        assert kinds[0] == b"IHDR"
        assert kinds[-1] == b"IEND"
        assert size == (chart.WIDTH, chart.HEIGHT)
        assert len(set(pixels)) > 100


def _png(picture: bytes) -> tuple[list[bytes], tuple[int, int], bytes]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    kinds, packed, size, at = [], b"", (0, 0), 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, body = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", picture[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        if kind == b"IDAT":
            packed += body
        kinds.append(kind)
        at += 12 + length
    return kinds, size, zlib.decompress(packed)


class Outline(HTMLParser):
    """The elements of a page, with a check that each is closed in order."""

    VOID = frozenset({"meta", "img", "source"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "href") or (value or "").startswith("data:")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(content: bytes) -> Outline:
    outline = Outline()
    outline.feed(content.decode())
    outline.close()
    assert outline.open == []
    return outline


def sentences(finished: state.Flights) -> list[str]:
    return findings.findings(
        state.finished(finished.validated),
        state.finished(finished.cleaned),
        state.finished(finished.aggregated),
        state.finished(finished.ranked),
    )


def test_the_report_holds_the_figures_and_needs_no_other_file(finished: state.Flights) -> None:
    seen = outline(page.render(finished, b"light", b"dark", sentences(finished), 62))
    text = " ".join(seen.text)
    assert seen.seen["table"] == seen.seen["caption"] >= 20
    assert seen.seen["script"] == seen.seen["link"] == 0
    assert "prefers-color-scheme: dark" in text
    assert "336,776" in text
    assert "Frontier Airlines Inc." in text


def test_the_report_escapes_hostile_text(finished: state.Flights) -> None:
    hostile = "</td><script>alert('x')</script>\"&<img src=x onerror=alert(1)>"
    aggregated = state.finished(finished.aggregated)
    first, *others = aggregated.carriers
    carriers = [first.model_copy(update={"label": hostile}), *others]
    cleaned = state.finished(finished.cleaned)
    poisoned = finished.model_copy(
        update={
            "name": hostile,
            "aggregated": aggregated.model_copy(update={"carriers": carriers}),
            "cleaned": cleaned.model_copy(update={"dropped": [Count(reason=hostile, rows=1)]}),
        }
    )
    seen = outline(page.render(poisoned, b"light", b"dark", [hostile], 62))
    assert seen.seen["script"] == 0
    assert seen.seen["img"] == 1
    assert "".join(seen.text).count(hostile) == 5


def test_artifacts_are_replaced_whole_and_equal_tables_give_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Tables
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    first = store.write_table("planes", tables["planes"])
    assert store.write_table("planes", tables["planes"]) == first
    assert [path.name for path in (tmp_path / "2013").iterdir()] == ["planes.parquet"]
    pd.testing.assert_frame_equal(store.read_table("planes", [first]), tables["planes"])


def test_a_file_that_changed_behind_the_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    written: Artifact = store.write("note.txt", b"whole")
    (tmp_path / "2013" / "note.txt").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"note\.txt has changed"):
        store.read(written)


def test_sweeping_spares_what_another_attempt_may_still_be_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    store.write("note.txt", b"kept")
    old, new = (store.folder / f"{artifacts.TEMPORARY}{name}" for name in ("old", "new"))
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    store.sweep()
    assert sorted(path.name for path in store.folder.iterdir()) == [new.name, "note.txt"]
