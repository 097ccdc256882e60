import pytest

from support.helm import helm


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds Helm where it is missing, before the clock of the first test runs: it takes minutes."""
    if not session.config.option.collectonly:
        helm()
