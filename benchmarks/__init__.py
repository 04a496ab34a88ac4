"""What Milepost costs and saves, in ratios measured on one machine: ``make bench``."""

import sys
from pathlib import Path

# PostgreSQL and S3 servers are started as the tests start them.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
