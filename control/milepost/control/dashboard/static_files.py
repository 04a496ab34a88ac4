"""The style sheet, the script and the icon: read once, named by their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .protection import protect

_KINDS = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """Files that browsers keep: their address changes with their content."""

    contents: Mapping[str, bytes]
    version: str

    @classmethod
    def load(cls) -> StaticFiles:
        """Read them from the package."""
        folder = files("milepost.control.dashboard") / "static"
        contents = {name: (folder / name).read_bytes() for name in _KINDS}
        return cls(contents, sha256(b"".join(contents.values())).hexdigest()[:12])

    async def answer(self, request: Request) -> Response:
        """Send one."""
        name = request.path_params["name"]
        if name not in self.contents:
            return protect(PlainTextResponse("Not found", 404))
        response = Response(self.contents[name], media_type=_KINDS[name])
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return protect(response)
