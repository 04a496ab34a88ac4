"""What the API tells Prometheus of the stores and the fleet."""

from __future__ import annotations

import re

from integration.api_site import counting_app
from milepost.control.api.keys import Scope
from milepost.worker.metrics import CATALOGUE
from support.api_server import ApiServer


def test_all_figures_of_the_stores_are_there(redis_url: str) -> None:
    """The board and the alerts use them."""
    with ApiServer(counting_app(redis_url)) as server:
        server.app.start("counting", {"n": 1}, run_id="one")
        with server.http(server.key(Scope.READ)) as http:
            page = http.get("/metrics").text

    found = dict(re.findall(r"^(milepost_\w+)(?:\{[^}]*\})? (\S+)$", page, re.MULTILINE))
    expected = {metric.name for metric in CATALOGUE if metric.source == "store"}
    assert expected - found.keys() <= {"milepost_dead_letters"}, "none has failed"
    assert float(found["milepost_queue_depth"]) == 1
    assert 'milepost_runs{pipeline="counting",status="queued"} 1.0' in page.replace(
        'status="queued",pipeline="counting"', 'pipeline="counting",status="queued"'
    )
