"""Hostile names are refused before they reach a store, a log or a path."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpointing import InvalidName
from milepost.checkpointing.ids import new_checkpoint_id, new_run_id, valid_name

_SAFE = string.ascii_letters + string.digits + "._-"
_HOSTILE = {
    "empty": "",
    "traversal": "../../etc/passwd",
    "traversal inside": "a/../../b",
    "two dots": "a..b",
    "absolute": "/etc/passwd",
    "encoded traversal": "%2e%2e%2f",
    "backslash": "..\\windows",
    "hidden file": ".ssh",
    "option": "-rf",
    "underscore first": "_run",
    "trailing dot": "run.",
    "only a dot": ".",
    "glob": "run*",
    "glob class": "run[a-z]",
    "one character glob": "run?",
    "hash tag": "{run}",
    "colon": "run:1",
    "space": "run 1",
    "CRLF": "run\r\nSET x 1",
    "trailing newline": "run\n",
    "NUL": "run\0",
    "quote": "run'",
    "markup": "<img onerror=1>",
    "template": "${jndi:ldap://x}",
    "Cyrillic a": "\u0430bc",
    "full width": "\uff41bc",
    "Arabic digit": "run\u0661",
    "combining": "re\u0301sume",
    "right to left": "run\u202e",
    "zero width": "ru\u200bn",
    "surrogate": "run\ud800",
    "129 characters": "r" * 129,
    "10 KB": "r" * 10_240,
    "bytes": b"run",
    "number": 7,
    "nothing": None,
}


@pytest.mark.fault("S5", "S16")
@pytest.mark.parametrize("name", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_a_hostile_name_is_refused_in_a_short_printable_message(name: object) -> None:
    with pytest.raises(InvalidName) as caught:
        valid_name(name, "stage name")
    message = str(caught.value)
    assert "is not a valid stage name" in message
    assert len(message) < 250
    assert message.replace("…", "").isascii()
    assert message.isprintable()


@pytest.mark.parametrize(
    "name", ["a", "0", "a.b", "a-", "a_", "A-1_b.c", "r" * 128, "a.b.c-d", "0" * 32]
)
def test_a_plain_name_comes_back_unchanged(name: str) -> None:
    assert valid_name(name) is name


@pytest.mark.fault("S5")
@given(st.text(max_size=200))
def test_whatever_passes_is_safe_everywhere(name: str) -> None:
    try:
        valid_name(name)
    except InvalidName:
        return
    assert 1 <= len(name) <= 128
    assert set(name) <= set(_SAFE)
    assert name[0] not in "._-"
    assert name[-1] != "."
    assert ".." not in name


@given(st.text(_SAFE, min_size=1, max_size=128))
def test_the_rule_refuses_nothing_but_what_it_says(name: str) -> None:
    allowed = name[0] not in "._-" and not name.endswith(".") and ".." not in name
    try:
        valid_name(name)
    except InvalidName:
        assert not allowed
    else:
        assert allowed


def test_new_run_ids_are_valid_different_and_in_order() -> None:
    made = [new_run_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert [name[:12] for name in made] == sorted(name[:12] for name in made)
    assert all(re.fullmatch("[0-9a-f]{32}", valid_name(name)) for name in made)


def test_new_checkpoint_ids_are_different() -> None:
    made = {new_checkpoint_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in made)
