"""Finding the application a command is about."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

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
    if module_name.endswith(".py") or "/" in module_name or module_name.startswith("."):
        raise Misconfigured(
            f"{name!r} is no module: expected a name as in `import`, such as flights for flights.py in this "
            "folder."
        )
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise Misconfigured(
                f"{module_name!r} cannot be imported{_place(error)}: {error}."
            ) from None
        raise Misconfigured(
            f"No module {module_name!r} can be imported from {here}. Is this the folder it is in?"
        ) from None
    except SyntaxError as error:
        where = f" ({error.filename}, line {error.lineno})"
        raise Misconfigured(f"{module_name!r} cannot be imported{where}: {error.msg}.") from None
    found = [getattr(module, attribute, None)] if attribute else [*vars(module).values()]
    for candidate in found:
        if isinstance(candidate, Milepost):
            return candidate
    raise Misconfigured(f"{name} holds no Milepost application: expected app = Milepost(...).")


def _place(error: ModuleNotFoundError) -> str:
    """Say which line wanted the module that is missing."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "<frozen" not in frame.filename
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"
