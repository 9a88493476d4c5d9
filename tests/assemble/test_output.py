import os
import signal

import pytest

from tftrt_toolkit.assemble import output
from tftrt_toolkit.assemble.output import check_output, replaced_directory
from tftrt_toolkit.errors import OutputExistsError


def fill(directory, content):
    with replaced_directory(directory) as fresh:
        (fresh / "model").write_text(content)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_new_directory_and_its_parents_appear(tmp_path):
    fill(tmp_path / "a" / "b", "new")
    assert (tmp_path / "a" / "b" / "model").read_text() == "new"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("swaps", [True, False])
def test_a_filled_directory_is_replaced_as_a_whole(tmp_path, monkeypatch, swaps):
    if not swaps:  # as where the C library or the file system can't exchange
        monkeypatch.setattr(output.ctypes, "CDLL", lambda *_, **__: object())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    fill(tmp_path / "out", "new")
    assert names(tmp_path / "out") == ["model"]
    assert names(tmp_path) == ["out"]


def test_an_error_leaves_things_as_they_were(tmp_path):
    fill(tmp_path / "out", "old")

    def fail():
        with replaced_directory(tmp_path / "out") as fresh:
            (fresh / "model").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "out" / "model").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_kill_leaves_the_old_and_the_next_save_clears_up(tmp_path):
    fill(tmp_path / "out", "old")
    child = os.fork()
    if child == 0:
        with replaced_directory(tmp_path / "out") as fresh:
            (fresh / "model").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "out" / "model").read_text() == "old"
    assert len(names(tmp_path)) == 2
    fill(tmp_path / "out", "new")
    assert (tmp_path / "out" / "model").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_save_under_way_is_not_cleared(tmp_path):
    with replaced_directory(tmp_path / "out") as fresh:
        fill(tmp_path / "out", "first")
        (fresh / "model").write_text("second")
    assert (tmp_path / "out" / "model").read_text() == "second"


def test_what_may_be_written_to(tmp_path):
    check_output(tmp_path / "new", overwrite=False)
    check_output(tmp_path, overwrite=False)
    (tmp_path / "file").touch()
    check_output(tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError, match="exists and isn't empty"):
        check_output(tmp_path, overwrite=False)
    with pytest.raises(OutputExistsError, match="is a file"):
        check_output(tmp_path / "file", overwrite=True)
