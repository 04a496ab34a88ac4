"""Writes deploy/.env with fresh secrets for compose.yaml: ``python3 deploy/new_env.py [FILE]``.

An existing file is left as it is. What stands in it may be changed; passwords go into URLs, so keep them to
letters and digits.
"""

import os
import secrets
import sys
from pathlib import Path

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name(".env")
lines = [
    "# The module that holds the application, and the folder it is in.",
    "MILEPOST_APP=hello",
    "APP_FOLDER=./example",
    f"VALKEY_PASSWORD={secrets.token_hex(24)}",
    f"S3_ACCESS_KEY={secrets.token_hex(10)}",
    f"S3_SECRET_KEY={secrets.token_hex(24)}",
    f"FLOWER_PASSWORD={secrets.token_hex(16)}",
]
try:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
except FileExistsError:
    sys.exit(f"{path} is there already; remove it first if its secrets are to be replaced.")
with open(file, "w") as out:
    out.write("\n".join(lines) + "\n")
sys.stdout.write(f"{path} is written. Flower's user is operator; the passwords stand in it.\n")
