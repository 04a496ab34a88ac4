"""What people who do not see the page, or use no mouse, need of it: rules a browser can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_HERE = Path(__file__).parent


def faults(page: Page) -> list[str]:
    """Return what is wrong with a page for those who read it with other means."""
    found: list[Any] = page.evaluate((_HERE / "accessibility_rules.js").read_text())
    return [str(fault) for fault in found]


def poor_contrasts(page: Page) -> list[str]:
    """Return the texts whose contrast is below 4.5 to 1 (WCAG AA)."""
    found: list[Any] = page.evaluate((_HERE / "accessibility_contrast.js").read_text())
    return [str(fault) for fault in found]


def unseen_focus(page: Page, presses: int = 60) -> list[str]:
    """Press Tab through a page and return what has the focus without showing it."""
    unseen = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const el = document.activeElement;
              if (!el || el === document.body) return "end";
              const style = getComputedStyle(el);
              const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
              const box = el.getBoundingClientRect();
              return seen && box.width > 1 && box.height > 1 ? "" : el.outerHTML.slice(0, 160);
            }"""
        )
        if found == "end":
            break
        if found:
            unseen.append(str(found))
    return unseen
