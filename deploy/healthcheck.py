"""Exits 0 if the URL given answers 200: a container's health check, without curl and without proxies.

python -IS healthcheck.py http://127.0.0.1:9100/healthz
"""

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
connection = HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=4)
try:
    connection.request("GET", url.path or "/")
    status = connection.getresponse().status
except (OSError, HTTPException) as error:
    sys.exit(f"{sys.argv[1]} does not answer: {error}")
if status != 200:
    sys.exit(f"{sys.argv[1]} answers {status}")
