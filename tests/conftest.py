import pytest

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite

LONGEST = (
    "test_explain.py",
    "test_executors.py",
    "test_notebooks.py",
    "test_config.py",
    "test_reliability.py",
    "test_html_report.py",
    "test_contributing.py",
    "test_dashboard.py",
    "test_memory.py",
    "test_counterfactual_study.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process of `make test` ends with one."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def lite0() -> Classifier:
    """The default classifier with its real weights."""
    return efficientnet_lite(0)
