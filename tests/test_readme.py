"""Every command and snippet of the README runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# What sets the environment up is run by CI and by the Makefile, not from inside the tests.
SET_UP = re.compile(r"^(make (?P<target>[\w-]+)|pip install)")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell_commands():
    for block in blocks("bash"):
        joined = block.replace("\\\n", " ")
        yield from (line.split("  #")[0].strip() for line in joined.splitlines() if line.strip())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A directory that looks like the checkout, so that nothing is written into the real one."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("saved_models", "scripts", "tftrt_toolkit"):
        (directory / name).symlink_to(ROOT / name)
    (directory / "demo_output").mkdir()
    return directory


def run(workspace, *command):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_set_up_commands_are_what_ci_and_the_makefile_run():
    ci, makefile = (ROOT / ".ci" / "run").read_text(), (ROOT / "Makefile").read_text()
    targets = [match["target"] for match in map(SET_UP.match, shell_commands()) if match]
    assert {"demo", "test"} <= set(targets)
    for target in filter(None, targets):
        assert f"make {target}\n" in ci or re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "--editable '.[rtx,test]'" in makefile


COMMANDS = [command for command in shell_commands() if not SET_UP.match(command)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[1][:60])
def test_command(workspace, command):
    program, *arguments = re.sub(r"\s+", " ", command).split(" ")
    assert program == "python", "write README commands as `python scripts/...`"
    run(workspace, sys.executable, *arguments)


def test_python_snippets_run_one_after_the_other(workspace):
    snippets = blocks("python")
    assert len(snippets) >= 2
    script = workspace / "snippets.py"
    script.write_text("\n".join(snippets))
    assert "Total number of TensorRT engines: 1" in run(workspace, sys.executable, str(script))
