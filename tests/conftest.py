import pytest

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite


@pytest.fixture(scope="session")
def lite0() -> Classifier:
    """The default classifier with its real weights."""
    return efficientnet_lite(0)
