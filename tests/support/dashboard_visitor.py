"""Somebody who uses the dashboard without a browser: links and forms, over HTTP."""

from __future__ import annotations

import html
import re
from typing import Any, Self

import httpx

from .dashboard_site import DashboardSite

_FORM = r'<form method="post" action="{}"[^>]*>(.*?)</form>'
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Visitor:
    """Signs in with a key and keeps its cookie."""

    def __init__(self, site: DashboardSite, key: str | None) -> None:
        self.site = site
        self.client = httpx.Client(base_url=site.url, timeout=30)
        if key is not None:
            answer = self.post("/sign-in", csrf="", key=key)
            assert answer.status_code == 303, answer.text

    def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return self.client.get(path)

    def text(self, path: str) -> str:
        """Open a page that is there, and return its HTML with its references resolved."""
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return html.unescape(answer.text)

    @property
    def token(self) -> str:
        """The token in the forms of this session."""
        found = _TOKEN.search(self.get("/runs").text)
        assert found, "no form on the page"
        return found[1]

    def form(self, path: str, *, to: str) -> dict[str, list[str]]:
        """Return what a page's form sends to an address before anything is typed."""
        found = re.search(_FORM.format(re.escape(to)), self.get(path).text, re.S)
        assert found, f"{path} has no form for {to}"
        fields: dict[str, list[str]] = {}
        for name, value in _HIDDEN.findall(found[1]):
            fields.setdefault(name, []).append(html.unescape(value))
        return fields

    def post(self, path: str, headers: Any = None, **form: Any) -> httpx.Response:
        """Send a form from one of our pages."""
        if "csrf" not in form:
            form["csrf"] = self.token
        return self.client.post(
            path, data=form, headers={"Origin": self.site.url, **(headers or {})}
        )

    def close(self) -> None:
        """Leave."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
