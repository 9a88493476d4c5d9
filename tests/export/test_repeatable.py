import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from tests.op_matrix.chain import CASES
from tests.segments import freeze
from tftrt_toolkit.errors import ExportError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.onnx_model import content_hash

for name, case in CASES.items():
    if name.startswith(("keras.", "detect.", "image.")):
        try:
            print(name, content_hash(export_segment(*freeze(case.function, case.specs))))
        except ExportError as error:
            print(name, error)
"""


def hashes(seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONHASHSEED": seed, "CUDA_VISIBLE_DEVICES": "-1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_every_process_exports_the_same_bytes():
    """Plans are cached by the hash of their ONNX."""
    first = hashes("1")
    assert len(first) > 70
    assert hashes("2") == first
