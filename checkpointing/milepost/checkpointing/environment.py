"""Settings that come from ``MILEPOST_…`` variables."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import Misconfigured
from .redaction import HIDDEN, SECRETS, is_secret, redacted

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
            found = HIDDEN if is_secret(name) else redacted(repr(first["input"]))
            raise Misconfigured(f"{_PREFIX}{name.upper()} is {found}: {first['msg']}.") from None
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                # Of a ring of keys each is one, without its name.
                keys = value.get_secret_value().split(",")
                SECRETS.learn(*keys, *(key.partition(":")[2] for key in keys))
            elif isinstance(value, str) and "://" in value:
                SECRETS.learn_url(value)
