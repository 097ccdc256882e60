from pathlib import Path

import pytest

from order_engine.execution.setting_sources import read_settings
from order_engine.local.settings import LocalSettings


@pytest.fixture(autouse=True)
def _no_settings_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in LocalSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_nothing_is_required() -> None:
    settings = read_settings(LocalSettings)

    assert (settings.database_url, settings.has_redis, settings.has_log_level) == ("", False, False)


@pytest.mark.parametrize("name", ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"])
def test_a_redis_of_the_user_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"REDIS_URL": "redis://there", "REDIS_HOST": "localhost", "REDIS_PORT": "6379"}
    monkeypatch.setenv(name, values[name])

    assert LocalSettings().has_redis


def test_a_redis_for_the_queues_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_QUEUE_URL", "redis://there")
    queues_alone = LocalSettings().has_redis
    monkeypatch.setenv("REDIS_PUBSUB_URL", "redis://here")

    assert (queues_alone, LocalSettings().has_redis) == (False, True)


def test_settings_in_the_env_file_count_as_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_HOST=there\nLOG_LEVEL=info\n")
    settings = LocalSettings()

    assert (settings.has_redis, settings.has_log_level) == (True, True)
