"""`compose.yaml`, as Docker Compose itself reads it."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from milepost.worker.settings import WorkerSettings
from support.deployment import DEPLOY, ROOT, compose, new_environment, seconds, services

OURS = ("worker", "api", "flower")
SERVERS = ("valkey", "s3", *OURS)
_SECRETS = ("VALKEY_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "FLOWER_PASSWORD")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return new_environment(tmp_path_factory.getbasetemp() / "compose.env")


@pytest.fixture(scope="module")
def found(secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return services(tmp_path_factory.getbasetemp() / "compose.env")


def test_without_secrets_it_says_what_to_do() -> None:
    done = compose("/dev/null")

    assert done.returncode != 0
    for name in (*_SECRETS, "APP_FOLDER", "MILEPOST_APP"):
        assert f"required variable {name} is missing a value: run deploy/new_env.py" in done.stderr


@pytest.mark.parametrize("name", _SECRETS)
def test_each_secret_is_asked_for(name: str, secrets: dict[str, str], tmp_path: Path) -> None:
    """An empty one is as good as none."""
    env = tmp_path / "env"
    env.write_text("".join(f"{k}={'' if k == name else v}\n" for k, v in secrets.items()))

    done = compose(env)

    assert done.returncode != 0
    assert f"required variable {name} is missing a value" in done.stderr


def test_secrets_are_fresh_and_private(secrets: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "env"
    other = new_environment(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(len(other[name]) >= 20 and other[name] != secrets[name] for name in _SECRETS)
    # They stand in URLs as they are.
    assert all(other[name].isalnum() for name in _SECRETS)


def test_no_secret_stands_in_the_file() -> None:
    """What looks like a secret's value is a variable."""
    for name, service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|KEY|SECRET|AUTH|URL", key):
                assert re.search(r"\$\{\w+:\?", value), f"{name}: {key}"


def test_images_are_pinned(found: dict[str, Any]) -> None:
    for name, service in found.items():
        assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?$", service["image"]), name


@pytest.mark.fault("S18")
def test_nothing_is_published_beyond_this_host(found: dict[str, Any]) -> None:
    ports = [(name, port) for name, service in found.items() for port in service.get("ports", ())]

    assert {(name, port["host_ip"], port["published"]) for name, port in ports} == {
        ("api", "127.0.0.1", "8400"),
        ("flower", "127.0.0.1", "5555"),
    }


def test_the_stores_are_on_networks_that_lead_nowhere(found: dict[str, Any]) -> None:
    networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]

    for name in ("valkey", "s3", "bucket"):
        assert all(networks[each]["internal"] for each in found[name]["networks"]), name


def test_workers_have_time_to_hand_back(found: dict[str, Any]) -> None:
    grace = float(found["worker"]["environment"]["MILEPOST_GRACE_SECONDS"])

    assert grace == WorkerSettings(_env_file=None).grace_seconds
    assert seconds(found["worker"]["stop_grace_period"]) >= grace + 15


def test_services_are_confined(found: dict[str, Any]) -> None:
    for name in OURS:
        service = found[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "user" not in service, name
        # A folder of locks that two containers share would show each processes it cannot see.
        assert service["tmpfs"] == ["/tmp"], name
        assert [(v["target"], v["read_only"]) for v in service["volumes"]] == [("/app", True)]


def test_servers_are_limited_watched_and_brought_back(found: dict[str, Any]) -> None:
    for name in SERVERS:
        assert int(found[name]["mem_limit"]) > 0, name
        assert found[name]["restart"] == "unless-stopped", name
        # A worker's is that of the image.
        assert ("healthcheck" in found[name]) == (name != "worker"), name


def test_nobody_starts_before_the_stores(found: dict[str, Any]) -> None:
    for name in OURS:
        conditions = {k: v["condition"] for k, v in found[name]["depends_on"].items()}
        assert conditions == {
            "valkey": "service_healthy",
            "bucket": "service_completed_successfully",
        }
    assert found["bucket"]["depends_on"]["s3"]["condition"] == "service_healthy"


def test_health_is_asked_for_where_it_is_served(found: dict[str, Any]) -> None:
    for name, path in (("api", "healthz"), ("flower", "healthcheck")):
        port = next(a for a in found[name]["command"] if a.startswith("--port=")).partition("=")[2]
        assert found[name]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{port}/{path}"
        assert [p["target"] for p in found[name]["ports"]] == [int(port)]


def test_valkey_stops_before_the_kernel_stops_it(found: dict[str, Any]) -> None:
    limit = re.findall(r"maxmemory (\d+)mb", found["valkey"]["command"][0])

    assert int(limit[0]) * 2**20 <= int(found["valkey"]["mem_limit"]) * 2 / 3


def test_the_guides_override_puts_another_image_in(
    found: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """And does not build ours under its name."""
    guide = (ROOT / "docs/guides/deploy.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", guide, re.M | re.S)
    override = tmp_path / "compose.override.yaml"
    override.write_text(block)

    changed = services(tmp_path_factory.getbasetemp() / "compose.env", override)

    for name in OURS:
        assert "build" in found[name]
        assert "build" not in changed[name]
        assert not changed[name].get("volumes")
        assert changed[name]["image"] == "registry.example.com/flights:1.0"


def test_two_workers(found: dict[str, Any]) -> None:
    assert found["worker"]["deploy"]["replicas"] == 2
    assert "--strict" in found["worker"]["command"]
