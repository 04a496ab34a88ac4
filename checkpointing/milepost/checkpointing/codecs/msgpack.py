"""MessagePack: bytes and arrays without base64; states with a model stay JSON within it."""

from __future__ import annotations

from typing import Any

from ..envelope import CodecId
from ..errors import Corrupt, MissingExtra
from ..plain_json import dump_json, load_json
from ..types import Types
from .base import Adapter, Codec, Parts

try:
    import msgpack
except ImportError:
    raise MissingExtra("The codec msgpack", "msgpack") from None

_WIDEST = 1 << 63


class MsgpackCodec(Codec):
    """One array: whether the state is JSON of a model, then the four parts by the table of types."""

    id = CodecId.MSGPACK

    def __init__(self, types: Types) -> None:
        self._types = types

    def encode(self, parts: Parts, adapter: Adapter | None, about: bytes) -> bytes:
        state: Any
        if adapter is not None:
            state = dump_json(parts.state, name="state", adapter=adapter)
        else:
            state = self._flat(parts.state, "state")
        rest = [self._flat(getattr(parts, name), name) for name in Parts._fields[1:]]
        packed: bytes = msgpack.packb([adapter is not None, state, *rest], use_bin_type=True)
        return packed

    def decode(self, body: bytes, adapter: Adapter | None, about: bytes) -> Parts:
        try:
            typed, state, *rest = msgpack.unpackb(body, raw=False, strict_map_key=True)
            state = state if typed else _widened(state)
            rest = [_widened(part) for part in rest]
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise Corrupt(f"The body is no MessagePack of ours: {error}") from error
        if len(rest) != len(Parts._fields) - 1:
            raise Corrupt(f"The body has {len(rest) + 1} parts, not {len(Parts._fields)}.")
        if typed:
            state = load_json(state, adapter)
        else:
            state = self._types.revive(state)
            state = adapter.validate_python(state) if adapter else state
        return Parts(state, *(self._types.revive(part) for part in rest))

    def _flat(self, value: Any, name: str) -> Any:
        return _narrowed(self._types.flatten(value, name, binary=True))


def _narrowed(tree: Any) -> Any:
    """Write integers that MessagePack has no room for as text."""
    if isinstance(tree, dict):
        return {key: _narrowed(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [_narrowed(item) for item in tree]
    if type(tree) is int and not -_WIDEST <= tree < _WIDEST:
        return {"~int": f"{tree:x}"}
    return tree


def _widened(tree: Any) -> Any:
    if isinstance(tree, dict):
        if tree.keys() == {"~int"}:
            return int(tree["~int"], 16)
        if tree.keys() == {"~dict"}:
            # A dict of the state's own, which may look like one of ours.
            own = tree["~dict"]
            return {"~dict": {key: _widened(item) for key, item in own.items()}}
        return {key: _widened(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [_widened(item) for item in tree]
    return tree
