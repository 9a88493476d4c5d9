"""The notebook-style example, as a process: the whole way from a Keras application to a class."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("application", "size"),
    [
        ("MobileNet", "64"),
        pytest.param("MobileNetV2", "224", marks=pytest.mark.slow),
        pytest.param("ResNet50", "224", marks=pytest.mark.slow),
        pytest.param("VGG16", "224", marks=pytest.mark.slow),
    ],
)
def test_pictures_from_training_to_engines(tmp_path, application, size):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "classify_pictures.py")],
        capture_output=True,
        text=True,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "OUTPUT": str(tmp_path)}
        | {"APPLICATION": application, "SIZE": size},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"china, flower: float32 (2, {size}, {size}, 3)")
    converted, total = map(int, re.findall(r"\d+", lines[1])[:2])
    assert converted == total
    assert lines[2].startswith("PASS ")
    assert [line.split(":")[0] for line in lines[-2:]] == ["china", "flower"]
