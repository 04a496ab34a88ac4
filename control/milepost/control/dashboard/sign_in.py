"""Signing in and out, and the choice between light and dark."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from milepost.checkpointing import MilepostError

from .session import COOKIE, SECONDS
from .visit import THEME_COOKIE, Visit, inside

_YEAR = 365 * 86400


def sign_in_page(visit: Visit) -> Response:
    """Ask for a key, or take the one in the link and send the browser where no trace of it is."""
    key, code = visit.query.get("key"), visit.query.get("code")
    after = inside(visit.query.get("next", "/runs"))
    if not (key or code):
        return visit.page("sign_in.html", after=after, error="", key="")
    if key and visit.request.headers.get("sec-fetch-site") == "cross-site":
        # The browser keeps the cookie of a session back: only a click of yours says that you want another.
        return visit.page("sign_in.html", after=after, error="", key=key)
    # Not over a session that stands: a link of somebody else's shall not make you work in their name.
    session = visit.site.sessions.read(visit.request.cookies.get(COOKIE))
    response = (
        RedirectResponse("/signed-in", 303)
        if session
        else _signed_in(visit, key or "", "/signed-in", code)
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def sign_in(visit: Visit) -> Response:
    """Take a key from the form."""
    after = inside(visit.form.get("next", "/runs"))
    return _signed_in(visit, visit.form.get("key", "").strip(), after)


def signed_in(visit: Visit) -> Response:
    """Lead on from a page of our own: behind a link of others' the browser would keep the cookie back."""
    return visit.page("signed_in.html")


def sign_out(visit: Visit) -> Response:
    """Forget the session."""
    response = visit.go("/sign-in")
    response.delete_cookie(COOKIE, path="/")
    return response


def choose_theme(visit: Visit) -> Response:
    """Keep the theme for this browser."""
    response = visit.go(inside(visit.form.get("next", "/runs")))
    theme = visit.form.get("theme")
    if theme in ("light", "dark"):
        secure = visit.request.url.scheme == "https"
        response.set_cookie(
            THEME_COOKIE, theme, _YEAR, secure=secure, httponly=True, samesite="strict"
        )
    else:
        response.delete_cookie(THEME_COOKIE)
    return response


def _signed_in(visit: Visit, key: str, after: str, code: str | None = None) -> Response:
    address = visit.request.client.host if visit.request.client else ""
    wait = visit.site.throttle.wait_seconds(address)
    if wait:
        error = f"Too many keys that were none came from here. Try again in {wait} s."
        response: Response = visit.page("sign_in.html", 429, after=after, error=error, key="")
        response.headers["Retry-After"] = str(wait)
        return response
    try:
        sessions = visit.site.sessions
        cookie = sessions.redeem(code) if code else sessions.open(key)
    except MilepostError as failed:
        return visit.page("sign_in.html", 503, after=after, error=str(failed), key="")
    if cookie is None:
        visit.site.throttle.failed(address)
        what = "code, or it was used or is" if code else "key, or it was revoked or is"
        error = f"That is no {what} too old."
        return visit.page("sign_in.html", 401, after=after, error=error, key="")
    response = visit.go(after)
    response.set_cookie(
        COOKIE,
        cookie,
        SECONDS,
        path="/",
        secure=visit.request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response
