import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tftrt_toolkit.errors import MissingDependencyError, RuntimeLoadError
from tftrt_toolkit.runtime import library


@pytest.fixture
def cache(tmp_path, monkeypatch):
    directory = tmp_path / "cache"
    monkeypatch.setenv("TFTRT_TOOLKIT_CACHE_DIR", str(directory))
    return directory


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A compiler that notes each call and writes its output; what it does can be replaced."""
    script = tmp_path / "cxx"

    def behave(commands):
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{commands}\n')
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))

    behave('while [ "$1" != -o ]; do shift; done; sleep 0.3; echo compiled > "$2"')
    behave.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return behave


def test_it_is_compiled_once_and_found_again(cache, compiler):
    first = library.library_path()
    assert first.parent == cache.resolve()
    assert first.read_text() == "compiled\n"
    assert library.library_path() == first
    [call] = compiler.calls()
    assert "library.cc" in call
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_another_source_or_tensorflow_is_another_library(cache, compiler, tmp_path, monkeypatch):
    first = library.library_path()
    sources = tmp_path / "ops"
    shutil.copytree(library._SOURCES, sources)
    for source in sources.glob("*.cc"):
        source.write_bytes(source.read_bytes() + b"\n")
    monkeypatch.setattr(library, "_SOURCES", sources)
    second = library.library_path()
    monkeypatch.setattr(library.tf, "__version__", "2.99.0")
    assert len({first, second, library.library_path()}) == 3


def test_those_who_start_together_compile_once(cache, compiler):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(library.library_path())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(compiler.calls()) == 1


@pytest.mark.slow
def test_two_processes_compile_once(cache):
    program = (
        "import tftrt_toolkit.runtime as r, os; r.load_ops(); print(os.listdir(os.environ"
        "['TFTRT_TOOLKIT_CACHE_DIR']))"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    compiled = [name for name in os.listdir(cache) if name.endswith(".so")]
    assert len(compiled) == 1
    assert sum("compiling the ops" in error for _, error in outputs) == 1


def test_without_a_compiler(cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingDependencyError, match=r"no-such-compiler isn't there.*install g"):
        library.library_path()


def test_what_does_not_compile_tells_the_first_error_and_leaves_nothing(cache, compiler):
    compiler("echo 'x.cc:1: error: no such header' >&2; exit 1")
    with pytest.raises(RuntimeLoadError, match=r"x\.cc:1: error: no such header"):
        library.library_path()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_is_refused(cache, compiler, mode):
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(RuntimeLoadError, match=r"can be written by others.*chmod 700"):
        library.library_path()


def test_a_directory_within_one_that_everyone_can_write_is_refused(cache, compiler, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(RuntimeLoadError, match=r"lies in .*, which everyone can write"):
        library.library_path()


def test_a_directory_of_another_user_is_refused(cache, compiler, monkeypatch):
    monkeypatch.setattr(library.os, "getuid", lambda: os.stat("/").st_uid + 12345)
    with pytest.raises(RuntimeLoadError, match="belongs to another user"):
        library.library_path()


def test_a_directory_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFTRT_TOOLKIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(RuntimeLoadError, match=r"can't be used.*set TFTRT_TOOLKIT_CACHE_DIR"):
        library.library_path()


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch):
    monkeypatch.delenv("TFTRT_TOOLKIT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert library.cache_directory() == Path("/caches/tftrt_toolkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert library.cache_directory() == Path.home() / ".cache" / "tftrt_toolkit"


def test_the_log_is_given_strings_only():
    """TensorFlow 2.18 to 2.20 don't export what prints numbers: the library wouldn't load there.

    Headers of TensorFlow 2.21 print some, so what counts is which function calls the printer.
    """
    path = str(library.library_path())
    missing = {line for line in output_of("nm", "-uC", path) if "LogMessage" in line}
    printers = {
        name
        for name in (line.strip().removeprefix("U ") for line in missing)
        if "operator<<" in name and "basic_string" not in name
    }
    caller, callers = "", set()
    for line in output_of("objdump", "-dC", "--no-show-raw-insn", path):
        if line.endswith(">:"):
            caller = line.partition("<")[2].removesuffix(">:")
        elif any(f"<{name}@plt>" in line for name in printers):
            callers.add(caller)
    assert [name for name in callers if "tftrt::" in name] == []


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
