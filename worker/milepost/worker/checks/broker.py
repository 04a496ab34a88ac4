"""The broker and how Celery uses it. Runs do not rest on it; tasks that are no stages do."""

from __future__ import annotations

from collections.abc import Iterator

from celery.backends.base import DisabledBackend

from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES

from .base import Check, Finding
from .site import Site

_DEFAULT_VISIBILITY_SECONDS = 3600
_SHORT_VISIBILITY_SECONDS = 600


class BrokerAnswers(Check):
    """The broker can be reached, in a bounded time."""

    name = "broker"

    def findings(self, site: Site) -> Iterator[Finding]:
        conf, where = site.app.celery.conf, site.broker_location
        queue = conf.task_default_queue
        if site.app.runtime.dispatch.waiting(queue) is None:
            yield self.fail(
                "It does not answer: runs are kept, and go on when it does.",
                "Is it running?",
                where,
            )
        elif _on_redis(site) and not conf.broker_transport_options.get("socket_timeout"):
            yield self.warn(
                "Publishing has no time limit: a connection that died silently stops it for ever.",
                "Set broker_transport_options = {'socket_timeout': 30, 'socket_keepalive': True}.",
                where,
            )
        else:
            yield self.ok("It answers.", where)


class VisibilityTimeout(Check):
    """When Redis gives a message, which was taken and not acknowledged, to another worker."""

    name = "visibility timeout"

    def findings(self, site: Site) -> Iterator[Finding]:
        app, where = site.app, site.broker_location
        if not _on_redis(site):
            yield self.ok("Not of this broker.", where)
            return
        if app.owns_celery and not app.has_foreign_tasks():
            yield self.ok(
                "Of no effect: workers take stages without Redis's emulation of acknowledgements, and "
                "what they lose is made again from the run store.",
                where,
            )
            return
        options = app.celery.conf.broker_transport_options
        seconds = float(options.get("visibility_timeout", _DEFAULT_VISIBILITY_SECONDS))
        sweep = float(options.get("unacked_restore_interval", 10)) * float(
            options.get("unacked_restore_throttle", 10)
        )
        says = (
            f"{seconds:g} s, or what is shortest among the workers on this Redis; a task that is no stage "
            f"comes back {seconds:g} to {seconds + sweep:g} s after its worker died, stages in seconds."
        )
        limit = app.celery.conf.task_time_limit
        if app.celery.conf.task_acks_late and (
            seconds < _SHORT_VISIBILITY_SECONDS or seconds < (limit or 0)
        ):
            yield self.warn(
                f"{says} A late-acknowledging task that takes longer is run again while it still runs.",
                "Raise visibility_timeout above the longest task.",
                where,
            )
        else:
            yield self.ok(says, where)


class Messages(Check):
    """Acknowledgements, serializers, and whether messages are sent at all."""

    name = "messages"

    def findings(self, site: Site) -> Iterator[Finding]:
        conf, bad = site.app.celery.conf, False
        if conf.task_always_eager:
            bad = True
            yield self.fail(
                "task_always_eager is on: tasks are run where they are sent.",
                "Switch it off, but in tests.",
            )
        accepted = {str(kind).removeprefix("application/") for kind in conf.accept_content}
        if "json" not in accepted:
            bad = True
            yield self.fail(
                f"Workers accept {', '.join(sorted(accepted)) or 'nothing'}; messages of stages are JSON.",
                "Add 'json' to accept_content.",
            )
        if {"pickle", "x-python-serialize"} & accepted:
            bad = True
            yield self.warn(
                "Workers accept pickles: whoever can write to the broker can run code in them.",
                "Take 'pickle' out of accept_content.",
            )
        if site.app.has_foreign_tasks() and not conf.task_acks_late:
            bad = True
            yield self.warn(
                "Tasks that are no stages are acknowledged before they run: with their worker they are lost.",
                "Make them stages, or set task_acks_late for those that may run twice.",
            )
        if not bad:
            yield self.ok(
                "JSON; stages are acknowledged early, because the run store brings them back."
            )


class Prefetch(Check):
    """How much a worker takes that it does not run yet."""

    name = "prefetch"

    def findings(self, site: Site) -> Iterator[Finding]:
        factor = site.app.celery.conf.worker_prefetch_multiplier
        if factor == 1:
            yield self.ok("worker_prefetch_multiplier is 1.")
        else:
            many = f"{factor} for each process" if factor else "all it can get"
            yield self.warn(
                f"A worker takes {many}: what it holds back waits behind long stages while others are idle.",
                "Set worker_prefetch_multiplier = 1.",
            )


class Results(Check):
    """Celery's results, which stages have none of."""

    name = "results"

    def findings(self, site: Site) -> Iterator[Finding]:
        conf, backend = site.app.celery.conf, site.app.celery.backend
        if isinstance(backend, DisabledBackend):
            yield self.ok("No result backend: states are in checkpoints.")
        elif not conf.result_expires:
            yield self.warn(
                "Results of tasks that are no stages never expire.", "Set result_expires to a time."
            )
        else:
            yield self.ok("Stages keep none; those of other tasks expire.")


def _on_redis(site: Site) -> bool:
    return site.broker_url.split("://")[0] in {*REDIS_SCHEMES, "sentinel"}
