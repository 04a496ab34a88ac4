"""The closed table of types that states without a model may hold beside what JSON has."""

from __future__ import annotations

import io
import marshal
import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from .blob import Blob
from .errors import Corrupt, Misconfigured, MissingExtra, NotSerializable
from .ids import valid_name
from .plain_json import DEEPEST, dump_json, is_unicode, join, load_json, refusal

_MARK = "~"
_NUMERIC = frozenset("biufcMmSU")
T = TypeVar("T", bound=type)


@dataclass(frozen=True, slots=True)
class _Entry:
    """How values of one type are written as what JSON and bytes can hold, and read."""

    tag: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


class Types:
    """What values of known types are written as: ``{"~datetime": "2026-01-01T00:00:00"}``.

    Of a subclass of int, float, str, list or dict that is not known, the type is lost, as in JSON.

    Known are datetime, date, time, timedelta, UUID, Decimal, bytes, Path, tuple, set, frozenset, dicts with
    keys of any of these, NumPy arrays and scalars of numbers and text, pandas data frames, blobs, and
    what was registered. Nothing else is ever written or made by reading.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, _Entry] = {}
        self._by_tag: dict[str, _Entry] = {}
        for known, entry in _BUILT_IN:
            self._by_type[known] = self._by_tag[entry.tag] = entry

    def register(self, kind: T, name: str | None = None) -> T:
        """Add an enum, a dataclass or a pydantic model, under a name that stands in checkpoints for ever.

        Can be used as a decorator.

        Args:
            name: By default the class's own; give one before the class is renamed.

        Raises:
            Misconfigured: The name is taken, or *kind* is none of these.
            InvalidName: The name breaks the rule for names.
        """
        tag = f":{valid_name(name or kind.__name__, 'type name')}"
        if self._by_tag.get(tag) not in (None, self._by_type.get(_name(kind))):
            raise Misconfigured(f"The type name {tag[1:]} is taken by another class.")
        if issubclass(kind, BaseModel):
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            entry = _Entry(
                tag,
                lambda value: dump_json(value, name=tag[1:], adapter=adapter).decode(),
                lambda text: load_json(text.encode(), adapter),
            )
        elif issubclass(kind, Flag):
            # Of what is combined there is no name.
            entry = _Entry(tag, lambda value: value.value, kind)
        elif issubclass(kind, Enum):
            entry = _Entry(tag, lambda value: value.name, lambda name: kind[name])
        elif is_dataclass(kind):
            names = [field.name for field in fields(kind) if field.init]
            entry = _Entry(
                tag,
                lambda value: {name: getattr(value, name) for name in names},
                lambda values: kind(**values),
            )
        else:
            raise Misconfigured(
                f"{kind.__name__} cannot be registered: expected an enum, a dataclass or a pydantic model."
            )
        self._by_type[_name(kind)] = self._by_tag[tag] = entry
        return kind

    def concern(self, value: Any) -> bool:
        """Whether JSON alone might lose the type of something in *value*: told at the speed of C.

        ``marshal`` takes JSON's own types, but no subclass of them.
        """
        if isinstance(value, BaseModel):
            return _name(type(value)) in self._by_type
        try:
            marshal.dumps(value)
        except ValueError:
            return True
        return False

    def plain(self, value: Any, path: str, adapter: TypeAdapter[Any] | None = None) -> Any:
        """Return *value* if it can be written as it is, as JSON or by its adapter; else flattened.

        Raises:
            NotSerializable: It cannot be written at all.
        """
        try:
            dump_json(value, name=path, adapter=adapter)
        except NotSerializable:
            if adapter is not None:
                raise
        else:
            if adapter is not None or not self.concern(value):
                return value
        return self.flatten(value, path)

    def flatten(self, value: Any, path: str, *, binary: bool = False) -> Any:
        """Write *value* as dicts with text keys, lists, text, numbers, bools and None.

        Args:
            path: What the value is called in errors.
            binary: Leave bytes as they are, not as base64.

        Raises:
            NotSerializable: A value inside is of no known type, NaN or infinite, contains itself or is
                nested deeper than 200.
        """
        if isinstance(value, BaseModel) and _name(type(value)) not in self._by_type:
            # As JSON does: on top, a model is what it writes.
            value = load_json(dump_json(value, name=path))
        return self._flatten(value, path, binary, ())

    def revive(self, tree: Any) -> Any:
        """Read what `flatten` wrote.

        Raises:
            Corrupt: It names a type that is not known here, or what it holds is no such value.
            MissingExtra: It holds an array or a frame, and the library is not installed.
        """
        if isinstance(tree, list):
            return [self.revive(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if len(tree) != 1 or not next(iter(tree)).startswith(_MARK):
            return {key: self.revive(item) for key, item in tree.items()}
        ((tag, inner),) = tree.items()
        entry = self._by_tag.get(tag[1:])
        if entry is None:
            raise Corrupt(
                f"The checkpoint holds a {tag[1:].lstrip(':')}, which is not registered here. Register the "
                "class under that name before reading it."
            )
        try:
            if entry.tag == _VERBATIM.tag:
                return {key: self.revive(item) for key, item in inner.items()}
            return entry.read(self.revive(inner))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise Corrupt(
                f"The checkpoint holds no sound {entry.tag.lstrip(':')}: {error}"
            ) from error

    def _flatten(self, value: Any, path: str, binary: bool, around: tuple[int, ...]) -> Any:
        if value is None or type(value) is bool or (binary and type(value) is bytes):
            return value
        entry = self._by_type.get(_name(type(value)))
        if entry is None and isinstance(value, int | float | str):
            return _flatten_scalar(value, path)
        if id(value) in around:
            raise refusal(path, "it contains itself")
        if len(around) >= DEEPEST:
            raise refusal(f"{path[:80]}…", f"it is nested deeper than {DEEPEST}")
        around = (*around, id(value))
        if entry is None and isinstance(value, list):
            return [
                self._flatten(item, join(path, index), binary, around)
                for index, item in enumerate(value)
            ]
        if entry is None and isinstance(value, dict):
            return self._flatten_dict(value, path, binary, around)
        if entry is None:
            raise refusal(path, f"it is of type {type(value).__name__}")
        try:
            written = entry.write(value)
        except (ValueError, TypeError) as error:
            raise refusal(path, str(error)) from error
        return {_MARK + entry.tag: self._flatten(written, path, binary, around)}

    def _flatten_dict(self, value: dict[Any, Any], path: str, binary: bool, around: Any) -> Any:
        if not all(isinstance(key, str) and is_unicode(key) for key in value):
            pairs = [
                [
                    self._flatten(key, f"{path}.keys", binary, around),
                    self._flatten(item, join(path, str(key)), binary, around),
                ]
                for key, item in value.items()
            ]
            return {_MARK + "map": pairs}
        flat = {
            key: self._flatten(item, join(path, key), binary, around) for key, item in value.items()
        }
        if len(flat) == 1 and next(iter(flat)).startswith(_MARK):
            return {_MARK + _VERBATIM.tag: flat}
        return flat


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _flatten_scalar(value: float | str, path: str) -> Any:
    """Return a number or a text as one of JSON's own; of a subclass nobody registered the type is lost."""
    if isinstance(value, str):
        if not is_unicode(value):
            raise refusal(path, "it is no Unicode text")
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise refusal(path, f"it is {value}")
    return float(value)


def _ordered(items: Any) -> list[Any]:
    """Return the items of a set in an order that equal sets share in every process."""
    return sorted(items, key=lambda item: (type(item).__name__, repr(item)))


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else b64decode(text, validate=True)


def _write_array(array: Any) -> Any:
    if array.dtype.kind not in _NUMERIC:
        raise ValueError(f"it is an array of dtype {array.dtype}")
    return [array.dtype.str, list(array.shape), array.tobytes()]


def _read_array(written: Any) -> Any:
    numpy = _library("numpy", "numpy")
    name, shape, data = written
    kind = numpy.dtype(name)
    if kind.kind not in _NUMERIC:
        raise ValueError(f"dtype {name}")
    return numpy.frombuffer(data, kind).reshape(shape).copy()


def _write_frame(frame: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer)
    except ImportError:
        raise MissingExtra("A data frame in a checkpoint", "pandas") from None
    return buffer.getvalue()


def _read_frame(data: bytes) -> Any:
    pandas = _library("pandas", "pandas")
    try:
        return pandas.read_parquet(io.BytesIO(data))
    except OSError as error:
        raise ValueError(str(error)) from error


def _library(name: str, extra: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise MissingExtra(f"A checkpoint that holds values of {name}", extra) from None


_VERBATIM = _Entry("dict", dict, dict)
_PATH = _Entry("path", str, Path)
_SCALAR = _Entry(
    "scalar", lambda value: [value.dtype.str, value.tobytes()],
    lambda written: _read_array([written[0], [], written[1]])[()],
)  # fmt: skip
_FRAME = _Entry("frame", _write_frame, _read_frame)
_SCALARS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "complex64", "complex128", "datetime64", "timedelta64",
)  # fmt: skip
"""But float64 and str_, which are a float and a str, and bytes_, which forgets zeros at its end."""
_BUILT_IN: tuple[tuple[str, _Entry], ...] = (
    (_name(datetime), _Entry("datetime", datetime.isoformat, datetime.fromisoformat)),
    (_name(date), _Entry("date", date.isoformat, date.fromisoformat)),
    (_name(time), _Entry("time", time.isoformat, time.fromisoformat)),
    (
        _name(timedelta),
        _Entry(
            "timedelta",
            lambda value: [value.days, value.seconds, value.microseconds],
            lambda parts: timedelta(parts[0], parts[1], parts[2]),
        ),
    ),
    (_name(UUID), _Entry("uuid", str, UUID)),
    (_name(Blob), _Entry("blob", lambda blob: blob.model_dump(mode="json"), Blob.model_validate)),
    (_name(Decimal), _Entry("decimal", str, Decimal)),
    (_name(bytes), _Entry("bytes", lambda value: b64encode(value).decode(), _bytes)),
    (_name(Path), _PATH),
    (_name(PosixPath), _PATH),
    (_name(PurePosixPath), _PATH),
    (_name(tuple), _Entry("tuple", list, tuple)),
    (_name(set), _Entry("set", _ordered, set)),
    (_name(frozenset), _Entry("frozenset", _ordered, frozenset)),
    ("map", _Entry("map", list, dict)),
    ("dict", _VERBATIM),
    ("numpy.ndarray", _Entry("ndarray", _write_array, _read_array)),
    *((f"numpy.{name}", _SCALAR) for name in _SCALARS),
    *((f"{module}.DataFrame", _FRAME) for module in ("pandas", "pandas.core.frame")),
)
