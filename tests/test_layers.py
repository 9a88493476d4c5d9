"""The package's layers: a stage imports modules of the root, never another stage."""

import ast
from pathlib import Path

import pytest

import tftrt_toolkit

ROOT = Path(tftrt_toolkit.__file__).parent
STAGES = {
    "freeze", "support", "segment", "assemble", "export", "check", "precision", "engine", "runtime",
}  # fmt: skip
# The modules above the stages: only they may import several.
ABOVE = {
    "pipeline", "engines", "calibrating", "typed_segments", "accuracy_budget", "shape_search",
    "typed_fallback",
    "conversion", "converter", "function_converter", "onnx_engines", "report", "__init__",
    "validation", "cli", "examples", "keras", "compat", "targets", "serving", "tuning",
    "batch", "benchmark", "inference", "model_calibration",
}  # fmt: skip


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tftrt_toolkit"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def stages_imported(path):
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == "tftrt_toolkit" and parts[1:]} & STAGES


def modules():
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("module", modules())
def test_a_stage_imports_no_other_stage(module):
    top = module.split("/")[0].removesuffix(".py")
    if top in ABOVE:
        return
    found = stages_imported(ROOT / module) - {top}
    assert not found, f"{module} imports {found}: move what they share to the package's root"


def test_only_one_module_imports_tensorrt():
    def imports_tensorrt(path):
        return any(name.split(".")[0] in ("tensorrt", "tensorrt_rtx") for name in imported(path))

    assert {path.name for path in ROOT.rglob("*.py") if imports_tensorrt(path)} <= {"trt.py"}
