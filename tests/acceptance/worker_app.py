"""What ``celery -A acceptance.worker_app worker`` runs."""

from __future__ import annotations

import os

from acceptance.pipelines import build

app = build(os.environ)
