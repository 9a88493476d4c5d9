import threading

import pytest

from tftrt_toolkit.background import beside


def test_both_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)
    with beside(meeting.wait) as other:
        meeting.wait()
    assert other.result() in (0, 1)


def test_arguments_go_in_and_the_result_comes_out():
    with beside(divmod, 7, 2) as other:
        pass
    assert other.result() == (3, 1)


def test_an_error_is_raised_with_the_result():
    with beside(divmod, 7, 0) as other:
        pass
    with pytest.raises(ZeroDivisionError):
        other.result()


def test_an_error_in_the_block_waits_for_the_function():
    started, ended = threading.Event(), threading.Event()

    def work():
        started.wait(10)
        ended.set()

    def run():
        with beside(work):
            started.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert ended.is_set()
