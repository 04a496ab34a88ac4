"""The settings of an app in the test's own process, as a worker would read them from its environment."""

from __future__ import annotations

from collections.abc import Mapping

from milepost.tasks.settings import TaskSettings


def settings_of(env: Mapping[str, str]) -> TaskSettings:
    """Return what the ``MILEPOST_`` variables of *env* say."""
    return TaskSettings.model_validate(
        {
            name.removeprefix("MILEPOST_").lower(): value
            for name, value in env.items()
            if name.startswith("MILEPOST_")
        }
    )
