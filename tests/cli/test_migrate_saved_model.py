"""The command as a process: what it writes, what it prints, how it exits."""

from tests.cli import processes

MODELS = processes.ROOT / "tests" / "compat" / "models"


def run(model, output, *flags):
    directories = (
        f"--input_saved_model_dir={MODELS / model}",
        f"--output_saved_model_dir={output}",
    )
    return processes.run(processes.script("migrate_saved_model"), *directories, *flags)


def test_a_plain_model_is_written(tmp_path):
    result = run("static", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "2 engines became TensorFlow functions" in result.stderr
    assert (tmp_path / "out" / "saved_model.pb").exists()
    assert not (tmp_path / "out" / "assets").exists()


def test_new_engines_are_written(tmp_path):
    result = run("dynamic", tmp_path / "out", "--to=engines", "--input_shapes=x:1x4:3x4:8x4")
    assert result.returncode == 0, result.stderr
    assert "Total number of TensorRT engines: 1" in result.stdout
    assert (tmp_path / "out" / "assets" / "trt-serialized-engine.TRTEngineOp_000_000").exists()


def test_a_model_that_cannot_be_migrated_exits_with_the_reason(tmp_path):
    result = run("without_native_segments", tmp_path / "out")
    assert result.returncode == 1
    assert "native segments removed" in result.last_line
    assert not (tmp_path / "out").exists()
