import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def expected():
    """The input and the results of the unconverted model under TensorFlow 2.17.1."""
    return dict(np.load(Path(__file__).parent / "models" / "expected.npz"))
