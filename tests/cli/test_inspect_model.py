"""The command, and `tftrt`, as processes."""

import json
import sys

import pytest

from tests.cli.processes import ROOT, TFTRT, run, script
from tftrt_toolkit.cli.main import COMMANDS

MODEL = ROOT / "saved_models" / "digits_cnn"
SCRIPT = script("inspect_model")
INSPECT = (*TFTRT, "inspect")


def test_json_of_a_model_by_the_script():
    result = run(SCRIPT, f"--saved_model_dir={MODEL}", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["segments"] == []


@pytest.mark.parametrize("program", [SCRIPT, INSPECT], ids=["script", "tftrt"])
def test_help_teaches_and_tells_every_flag(program):
    result = run(program, "--help")
    assert "Exit codes: 0 done; 1 no such model" in result.stdout
    for flag in ("--saved_model_dir", "--saved_model_tags", "--[no]json", "--[no]detailed"):
        assert flag in result.stdout


def test_tftrt_runs_the_command_with_its_exit_codes(tmp_path):
    result = run(INSPECT, f"--saved_model_dir={tmp_path}")
    assert result.returncode == 1
    assert result.last_line.startswith("error: no SavedModel in ")


def test_wrong_flags_exit_with_2():
    result = run(SCRIPT, f"--saved_model_dir={MODEL}", "--picture=graph.docx")
    assert result.returncode == 2
    assert ".svg" in result.last_line


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("frobnicate", 2)])
def test_tftrt_names_its_commands(argument, code, monkeypatch, capsys):
    from tftrt_toolkit.cli import main

    monkeypatch.setattr(sys, "argv", ["tftrt", argument])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == code
    captured = capsys.readouterr()
    assert all(name in captured.out + captured.err for name in COMMANDS)


def test_every_subcommand_has_its_script():
    wrapped = {
        path.stem
        for path in (ROOT / "scripts").glob("*.py")
        if f"tftrt_toolkit.cli.{path.stem}" in path.read_text()
    }
    assert {module for module, _ in COMMANDS.values()} <= wrapped
