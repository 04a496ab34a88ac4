"""Finding the application a command is about."""

from __future__ import annotations

import importlib
import os
import sys

from milepost.checkpointing import Misconfigured
from milepost.tasks import Milepost


def load_app(name: str | None) -> Milepost:
    """Return the `Milepost` that *name* (``module`` or ``module:attribute``) holds.

    Without a name: an application without pipelines on the stores of ``MILEPOST_URL``, or of the
    embedded server of this folder. It can look at runs and command them, not start any.

    Raises:
        Misconfigured: The module cannot be imported, or holds none.
    """
    if name is None:
        return Milepost()
    module_name, _, attribute = name.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise Misconfigured(f"No module {module_name!r} can be imported from {here}.") from None
    found = [getattr(module, attribute, None)] if attribute else [*vars(module).values()]
    for candidate in found:
        if isinstance(candidate, Milepost):
            return candidate
    raise Misconfigured(f"{name} holds no Milepost application: expected app = Milepost(...).")
