import pytest

from tftrt_toolkit.progress import Stages, peak_rss_bytes


def test_seconds_add_up_in_order_of_first_entry():
    stages = Stages()
    for name in ("freeze", "check", "freeze"):
        with stages.stage(name, "detail"):
            pass
    assert list(stages.seconds) == ["freeze", "check"]
    assert all(seconds >= 0 for seconds in stages.seconds.values())


def test_a_stage_that_fails_is_timed_too():
    stages = Stages()
    with pytest.raises(RuntimeError), stages.stage("engine"):
        raise RuntimeError
    assert "engine" in stages.seconds


def test_tracking_yields_everything():
    assert list(Stages(show=True).track(iter("abc"), "letters")) == ["a", "b", "c"]


def test_peak_memory_grows_with_what_is_held():
    before = peak_rss_bytes()
    held = bytearray(b"x") * (before + (64 << 20))
    assert peak_rss_bytes() > before
    assert held


def test_a_stage_in_the_background_leaves_the_terminals_line_alone(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    stages = Stages(show=True)
    with stages.stage("observe", background=True):
        pass
    assert "observe" in stages.seconds
    assert capsys.readouterr().err == ""
    with stages.stage("export"):
        pass
    assert "export" in capsys.readouterr().err
