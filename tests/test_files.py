import os
import threading

import pytest

from tftrt_toolkit.files import replaced_file, write_text


def test_a_file_is_replaced_whole_through_links_and_in_new_directories(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "größer")
    (tmp_path / "link").symlink_to(path)
    write_text(tmp_path / "link", "second")
    assert path.read_text() == "second"
    assert (tmp_path / "link").is_symlink()
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_alone(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def interrupted():
        with replaced_file(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_pipe_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write_text, args=(tmp_path / "pipe", "text"))
    writer.start()
    assert (tmp_path / "pipe").read_text() == "text"
    writer.join()
    assert (tmp_path / "pipe").is_fifo()
