"""Debian's Chromium, and what it must never say of one of our pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from .requirement import need_program

_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need_program("chromium"), args=_OPTIONS
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose dialogs, errors and reports of a broken policy are kept.

    Args:
        ignore: Parts of addresses that may not be there.
    """

    def __init__(self, context: BrowserContext, ignore: tuple[str, ...] = ()) -> None:
        self.complaints: list[str] = []
        self._ignore = ignore
        self.page: Page = context.new_page()
        self.page.on("dialog", self._on_dialog)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", self._on_console)

    def _on_dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_console(self, message: Any) -> None:
        where = str(message.location.get("url", ""))
        if message.type in ("error", "warning") and not any(part in where for part in self._ignore):
            self.complaints.append(f"{message.type}: {message.text} at {where}")
