"""Keeping secrets out of what people and programs read: logs, errors, traces, events, terminals."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from traceback import format_exception
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

HIDDEN = "***"
_SHORTEST, _SHORTEST_WORD = 6, 12
_NAMES = (
    r"passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|authorization|credential|token(?!s)"
)
_HINTS = ("passw", "passphrase", "secret", "key", "authorization", "credential", "token", "bearer")
_SECRET_NAME = re.compile(_NAMES, re.I)
_WORD = re.compile(r"[a-z]+")
_SPACES = re.compile(r"(\s+)")
_BEFORE_PASSWORD = re.compile(r"(?:://|%3A%2F%2F)(?:(?!%3A)[^/?#:@\s])*(?::|%3A)", re.I)
_PARAMETER = re.compile(r"(?<=[?&])(\w*(?:password|secret|token)\w*=)[^&\s]*", re.I)
# The value may be quoted, and quoted again where JSON stands in JSON. All repetitions are bounded, or end
# where the next search begins: texts of errors are anybody's.
_NAMED = re.compile(
    rf"((?P<name>{_NAMES})[\w-]{{0,40}}\\{{0,8}}[\"']?\s{{0,8}}[:=](?!=)\s{{0,8}}(?:(?:Bearer|Basic)\s{{1,8}})?)"
    r"(?P<value>\\{1,8}\"(?:(?!\\{1,8}\").)*|\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?|[^\s,;&\"')}\]]+)"
    r"|(?P<bearer>\bBearer\s{1,8})[\w.~+/=-]{8,}",
    re.I,
)
_IN_AUTHORITY = re.compile(r"://[\w.@:%*-]*$")
_HARMLESS = re.compile(r"\d+(?:\.\d+)?|None|null|true|false", re.I)


class Secrets:
    """The secrets this process was given, hidden in whatever form they turn up."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._longest_first: tuple[str, ...] = ()

    def learn(self, *values: str | None) -> None:
        """Hide *values* from here on, but for those that could be any word of a text, or its part."""
        new = {form for value in values if value and not _is_word(value) for form in _forms(value)}
        if not new <= self._forms:
            self._forms |= new
            self._longest_first = tuple(sorted(self._forms, key=len, reverse=True))

    def learn_url(self, url: str) -> None:
        """Learn what is secret in a URL: its password, and parameters with such a name."""
        for part in url.split(";"):
            try:
                parts = urlsplit(part)
                user, password, host = parts.username, parts.password, parts.hostname
            except ValueError:
                continue
            # A password that is the name of the user, the server or the database hides nothing.
            if password and unquote(password) not in {
                user,
                host,
                parts.path.strip("/"),
                parts.scheme,
            }:
                self.learn(unquote(password), password)
            for name, value in parse_qsl(parts.query):
                if is_secret(name):
                    self.learn(value)
                elif "://" in value:
                    self.learn_url(value)

    def hide(self, text: str) -> str:
        """Return *text* without them."""
        for form in self._longest_first:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text


SECRETS = Secrets()
"""Of this process: who prints an error knows nothing of the setting it quotes, so all share one."""


def is_secret(name: str) -> bool:
    """Whether what has this name is not to be shown."""
    return _SECRET_NAME.search(name) is not None


def redacted(text: str) -> str:
    """Return *text* without passwords in URLs, values with a secret's name, and `SECRETS`."""
    text = SECRETS.hide(text)
    if "://" in text or "%2F" in text or "%2f" in text:
        text = "".join(map(_without_password, _SPACES.split(text)))
    lower = text.lower()
    # Far faster than letting the patterns find out that there is nothing, which is the rule in logs.
    if any(hint in lower for hint in _HINTS):
        text = _NAMED.sub(_without_value, _PARAMETER.sub(rf"\1{HIDDEN}", text))
    return text


def redacted_values(value: Any) -> Any:
    """Return JSON-like *value* with its texts redacted, and what stands under a secret's name hidden."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _hides(str(key), item) else redacted_values(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_values(item) for item in value]
    return value


class RedactedRecords:
    """Makes log records without secrets, whatever logs them and whoever writes them."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        try:
            if (hidden := redacted(text := record.getMessage())) != text:
                record.msg, record.args = hidden, ()
            if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
                # What stands here, formatters take instead of formatting it themselves.
                record.exc_text = redacted("".join(format_exception(*record.exc_info)).rstrip())
        except Exception:  # noqa: BLE001 - its arguments do not fit: `logging` will say so
            return record
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        return record


def redact_output() -> None:
    """Hide secrets in all that this process logs from here on, and in the traceback it may end with."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, RedactedRecords):
        logging.setLogRecordFactory(RedactedRecords(make))
    sys.excepthook = _print_redacted


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(redacted("".join(format_exception(kind, error, trace))))


def _without_password(word: str) -> str:
    """A password may hold anything while its URL is wrong, so it ends at the last "@"."""
    end = max(word.rfind("@"), word.rfind("%40"))
    found = _BEFORE_PASSWORD.search(word, 0, end) if end > 0 else None
    return f"{word[: found.end()]}{HIDDEN}{word[end:]}" if found else word


def _hides(name: str, value: Any) -> bool:
    return is_secret(name) and value is not None and not isinstance(value, bool | int | float)


def _without_value(found: re.Match[str]) -> str:
    if found["bearer"]:
        return f"{found['bearer']}{HIDDEN}"
    if _IN_AUTHORITY.search(found.string, max(0, found.start() - 300), found.start()):
        # A server with such a name, and its port; passwords were taken out of URLs before.
        return found[0]
    # Fencing tokens are numbers, and no secret.
    if found["name"].lower() == "token" and _HARMLESS.fullmatch(found["value"]):
        return found[0]
    quotes = re.match(r"\\*[\"']", found["value"])
    return f"{found[1]}{quotes[0] + HIDDEN + quotes[0] if quotes else HIDDEN}"


def _is_word(value: str) -> bool:
    """Whether hiding it would tear holes into harmless texts."""
    return len(value) < _SHORTEST or (len(value) < _SHORTEST_WORD and bool(_WORD.fullmatch(value)))


def _forms(value: str) -> set[str]:
    """Return how *value* looks in URLs, in JSON and in Python's repr, too."""
    return {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]}
