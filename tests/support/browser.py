"""Headless Chromium, and what goes wrong in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import ConsoleMessage, Dialog, Page, sync_playwright

from .requirement import need_program
from .server import Server

_TELL_OF_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', event => console.error(
  `violates ${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Visit:
    """A window with cookies of its own, and what its pages complained of.

    `errors`: what the console showed as an error, uncaught exceptions and violations of the content
    security policy; `warnings`: what it showed as such. `dialogs`: the texts of alerts and their like; each
    is dismissed. Nothing is noted of addresses with a part that is in `ignore`: they may not be there.
    """

    page: Page
    ignore: tuple[str, ...] = ()
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """All that a page of ours must never say."""
        return self.errors + self.warnings + self.dialogs

    def listen(self) -> None:
        """Note from now on what happens."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.add_init_script(_TELL_OF_VIOLATIONS)

    def picture(self, path: Path, **options: Any) -> None:
        """Write what the window shows as PNG, in 128 colours: a third of the size."""
        # Pillow comes with matplotlib; only pictures need it.
        from PIL import Image

        shown = self.page.screenshot(animations="disabled", **options)
        picture = Image.open(BytesIO(shown)).convert("RGB")
        picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)

    def _hear(self, said: ConsoleMessage) -> None:
        where = str(said.location.get("url", ""))
        if any(part in where for part in self.ignore):
            return
        if said.type == "error":
            self._note(f"{said.text} at {where}")
        elif said.type == "warning":
            self.warnings.append(f"{said.text} at {where}")

    def _note(self, text: str) -> None:
        self.errors.append(text)

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.page.context.close()


class Chromium(Server):
    """Debian's ``chromium``, one process for any number of visits."""

    def start(self) -> Self:
        """Start the browser."""
        program = need_program("chromium", "chromium-browser", "google-chrome")
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        return self

    def visit(self, *, ignore: tuple[str, ...] = (), **options: Any) -> Visit:
        """Open a window; *options* are those of playwright's ``new_context``.

        With ``http_credentials={"username": …, "password": …}`` it signs in by itself; with
        ``color_scheme="dark"`` it prefers dark pages.
        """
        given = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        visit = Visit(self._browser.new_context(**given).new_page(), ignore)
        visit.listen()
        return visit

    def close(self) -> None:
        """End the browser, if it runs."""
        if hasattr(self, "_browser"):
            self._browser.close()
        if hasattr(self, "_playwright"):
            self._playwright.stop()
