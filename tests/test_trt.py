"""Which TensorRT is found, what it logs, and that every version has what this package calls."""

import ast
import json
import logging
import os
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

import tftrt_toolkit
from tests import bindings_report
from tftrt_toolkit import trt
from tftrt_toolkit.trt import OPTIONAL, REQUIRED, TensorRT, Unavailable

PACKAGE = Path(tftrt_toolkit.__file__).parent
# Oldest of its line that has what we need, then two later ones: what changes between them is known.
VERSIONS = ("10.3.0", "10.16.0.72", "11.4.0.106")
rtx = pytest.mark.skipif(
    isinstance(trt.load("tensorrt_rtx"), Unavailable), reason="tensorrt_rtx isn't installed"
)


def declared():
    tables = [REQUIRED, *OPTIONAL.values()]
    return {name for table in tables for attributes in table.values() for name in attributes}


def callers():
    """The modules that hold TensorRT's objects."""
    folders = [PACKAGE / "engine", PACKAGE / "runtime"]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return [PACKAGE / "trt.py", *(path for path in files if "tftrt_toolkit.trt" in imports(path))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def used_names(path):
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


@rtx
@pytest.mark.parametrize("path", callers(), ids=lambda path: path.name)
def test_what_is_called_is_declared(path):
    classes = bindings_report.describe(trt.load("tensorrt_rtx").module)
    # A name of one word may as well be another object's.
    members = {name for attributes in classes.values() for name in attributes if "_" in name}
    undeclared = (used_names(path) & members) - declared()
    assert not undeclared, "declare them in trt.REQUIRED or, where not all have them, trt.OPTIONAL"


@pytest.mark.parametrize("path", callers(), ids=lambda path: path.name)
def test_calls_are_positional(path):
    """Argument names differ between versions more often than their order."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = [
        call.func.attr
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in declared() and call.keywords
    ]
    assert not named


@rtx
def test_rtx_has_all_of_it():
    found = trt.load("tensorrt_rtx")
    for table in (REQUIRED, *OPTIONAL.values()):
        assert trt.missing(found.module, table) == []
    assert (found.builds_ahead, found.parser_takes_weights, found.builds_to_stream) == (True,) * 3
    assert found.capabilities().keys() >= {"7.5", "8.0", "8.6", "8.9", "12.0"}


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request, tmp_path_factory):
    """The classes of one version's real bindings, imported without its libraries."""
    version, folder = request.param, tmp_path_factory.mktemp("bindings")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the libraries that the bindings need")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += [f"--dest={folder}", f"tensorrt_cu12_bindings=={version}"]
    download = subprocess.run(command, capture_output=True, text=True, check=False)
    if download.returncode:
        reason = download.stderr.strip().splitlines()[-1]
        pytest.skip(f"the bindings {version} can't be downloaded: {reason}")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    bindings_report.stub_libraries(folder, version.partition(".")[0])
    printed = subprocess.run(
        [sys.executable, bindings_report.__file__, "tensorrt_bindings"],
        capture_output=True,
        env=os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)},
        check=True,
    )
    content = json.loads(printed.stdout)
    assert content["version"].startswith(version.rpartition(".")[0])
    return version, as_module(content["classes"])


def as_module(classes):
    made = {name: type(name, (), dict(attributes)) for name, attributes in classes.items()}
    return types.SimpleNamespace(**made)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the wheels asked for are Python 3.11's"
)
def test_every_version_has_what_is_required(bindings):
    version, module = bindings
    assert trt.missing(module, REQUIRED) == []
    found = TensorRT("tensorrt", version, module)
    assert not found.builds_ahead
    # 10.3 is older than both; the later ones have them.
    later = version != "10.3.0"
    assert (found.parser_takes_weights, found.builds_to_stream) == (later, later)


def test_a_module_that_lacks_something_is_refused(monkeypatch):
    trt.load.cache_clear()
    fake = types.ModuleType("tensorrt")
    fake.__version__ = "8.6.1"
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    found = trt.load("tensorrt")
    trt.load.cache_clear()
    assert "tensorrt 8.6.1 lacks Builder" in found.reason
    assert "install TensorRT 10.1 or later" in found.reason


def test_without_any_module(monkeypatch):
    trt.load.cache_clear()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = trt.find("auto")
    trt.load.cache_clear()
    assert "pip install tensorrt;" in found.reason
    assert "pip install tensorrt_rtx_cu12" in found.reason


def complete(flavour, **classes):
    """A module that has all that is required."""
    made = {name: dict.fromkeys(attributes, "") for name, attributes in REQUIRED.items()}
    module = as_module(made | classes)
    return TensorRT(flavour, "1", module)


@pytest.mark.parametrize(
    ("gpu", "flavour", "expected"),
    [
        (None, "auto", "tensorrt_rtx"),
        ("9.0", "auto", "tensorrt"),
        ("9.0", "tensorrt_rtx", "tensorrt_rtx"),
        (None, "tensorrt", "builds only for the GPU at hand"),
    ],
)
def test_the_choice_of_a_flavour(monkeypatch, gpu, flavour, expected):
    ahead = {
        "ComputeCapability": {},
        "IBuilderConfig": dict.fromkeys(
            REQUIRED["IBuilderConfig"] | OPTIONAL["builds_ahead"]["IBuilderConfig"], ""
        ),
    }
    there = {"tensorrt": complete("tensorrt"), "tensorrt_rtx": complete("tensorrt_rtx", **ahead)}
    monkeypatch.setattr(trt, "load", there.__getitem__)
    monkeypatch.setattr(trt, "gpu_capability", lambda: gpu)
    found = trt.find(flavour)
    if isinstance(found, Unavailable):
        assert expected in found.reason
    else:
        assert found.flavour == expected


@rtx
def test_messages_reach_the_log_at_their_level(caplog):
    found = trt.load("tensorrt_rtx")
    severity = found.module.ILogger
    with caplog.at_level(logging.INFO, "tftrt_toolkit.tensorrt"), found.collect() as messages:
        found.logger.log(severity.ERROR, "no such\nkernel")
        found.logger.log(severity.ERROR, "no such\nkernel")
        found.logger.log(severity.WARNING, "slow")
        found.logger.log(severity.VERBOSE, "detail")
        found.logger.log(severity.VERBOSE, "Layers:\none")
    assert [(one.levelname, one.message) for one in caplog.records][1:] == [
        ("ERROR", "no such\nkernel"),
        ("WARNING", "slow"),
    ]
    assert messages.summary() == "no such kernel"
    assert messages.layers == "Layers:\none"
    found.logger.log(severity.ERROR, "later")
    assert "later" not in messages.errors
    assert found.logger is trt.load("tensorrt_rtx").logger


@rtx
def test_the_absent_driver_is_no_error(caplog, monkeypatch):
    monkeypatch.setattr(trt, "gpu_capability", lambda: None)
    found = trt.load("tensorrt_rtx")
    with found.collect() as messages:
        found.logger.log(
            found.module.ILogger.ERROR,
            "a real one\nCuda: CUDA driver version is insufficient for CUDA runtime version",
        )
        found.logger.log(found.module.ILogger.ERROR, "CUDA driver version is insufficient")
    assert messages.errors == ["a real one"]
    assert len(caplog.records) == 1
