import pytest

from support.helm import helm


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds Helm when it is missing, before the timeout of the first test starts: it takes minutes."""
    if not session.config.option.collectonly:
        helm()
