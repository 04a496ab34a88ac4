"""JSON: a line a part, so that a state is validated from its own without being parsed twice."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from ..envelope import CodecId
from ..errors import Corrupt
from ..plain_json import DEEPEST, dump_json, load_json, refusal
from ..types import Types
from .base import Adapter, Codec, Parts


class JSONCodec(Codec):
    """Four lines: state, messages, tool calls, context; all of it plain JSON."""

    id = CodecId.JSON

    def encode(self, parts: Parts, adapter: Adapter | None, about: bytes) -> bytes:
        return b"\n".join(
            dump_json(part, name=name, adapter=adapter if name == "state" else None)
            for name, part in zip(Parts._fields, parts, strict=True)
        )

    @staticmethod
    def around(line: bytes) -> bytes:
        """Return the body of a state that is written already, without any other part."""
        return line + b"\n[]\n[]\n{}"

    def decode(self, body: bytes, adapter: Adapter | None, about: bytes) -> Parts:
        lines = body.split(b"\n")
        if len(lines) != len(Parts._fields):
            raise Corrupt(f"The body has {len(lines)} lines, not {len(Parts._fields)}.")
        return Parts(load_json(lines[0], adapter), *(load_json(line) for line in lines[1:]))


class TypedJSONCodec(Codec):
    """The same behind a line of flags: ``1`` for a part that is written by the table of types."""

    id = CodecId.TYPED_JSON

    def __init__(self, types: Types) -> None:
        self._types = types

    def encode(self, parts: Parts, adapter: Adapter | None, about: bytes) -> bytes:
        flags, lines = "", []
        for name, part in zip(Parts._fields, parts, strict=True):
            of_type = adapter if name == "state" else None
            if of_type is not None:
                lines.append(dump_json(part, name=name, adapter=of_type))
            else:
                lines.append(_dump(self._types.flatten(part, name), name))
            flags += "0" if of_type else "1"
        return b"\n".join((flags.encode(), *lines))

    def decode(self, body: bytes, adapter: Adapter | None, about: bytes) -> Parts:
        flags, *lines = body.split(b"\n")
        if len(lines) != len(Parts._fields) or len(flags) != len(lines) or flags.strip(b"01"):
            raise Corrupt("The body is not four lines behind a line of flags.")
        parts: list[Any] = []
        for number, line in enumerate(lines):
            of_type = adapter if number == 0 else None
            if flags[number : number + 1] == b"0":
                parts.append(load_json(line, of_type))
            else:
                value = self._types.revive(load_json(line))
                parts.append(of_type.validate_python(value) if of_type else value)
        return Parts(*parts)


def _dump(tree: Any, name: str) -> bytes:
    """Write what the table made of a part, and see that it can be read: the table nests it deeper."""
    try:
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
        if text.count("[") + text.count("{") > DEEPEST:
            from_json(data)
    except (ValueError, RecursionError) as error:
        raise refusal(name, str(error)) from error
    return data
