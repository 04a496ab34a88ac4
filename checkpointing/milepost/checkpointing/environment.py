"""Settings that come from ``MILEPOST_…`` variables."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import Misconfigured

_PREFIX = "MILEPOST_"


class Environment(BaseSettings):
    """Read when made, and frozen.

    Raises:
        Misconfigured: A value cannot be used; the variable is named.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = "".join(str(part) for part in first["loc"])
            raise Misconfigured(
                f"{_PREFIX}{name.upper()} is {first['input']!r}: {first['msg']}."
            ) from None
