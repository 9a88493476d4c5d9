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


def shell_commands(block):
    joined = block.replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in joined.splitlines() if line.strip()]


def steps():
    """(what, text) in the README's order: shell commands, and a section's Python in one piece."""
    for section in re.split("^## ", README, flags=re.MULTILINE):
        blocks = re.findall(r"```(bash|python)\n(.*?)```", section, flags=re.DOTALL)
        python = [text for language, text in blocks if language == "python"]
        for language, text in blocks:
            if language == "bash":
                yield from (("command", command) for command in shell_commands(text))
            elif text is python[0]:
                yield section.splitlines()[0], "\n".join(python)


COMMANDS = [text for what, text in steps() if what == "command"]
STEPS = [(what, text) for what, text in steps() if not SET_UP.match(text)]


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
    targets = [match["target"] for match in map(SET_UP.match, COMMANDS) if match]
    assert {"demo", "test"} <= set(targets)
    for target in filter(None, targets):
        assert f"make {target}\n" in ci or re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "--editable '.[rtx,test]'" in makefile


def name_of(step):
    what, text = step
    return text.split()[1][:60] if what == "command" else what


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_step(workspace, step):
    """One step of the README, behind those above it."""
    what, text = step
    if what == "command":
        program, *arguments = text.split()
        assert program == "python", "write README commands as `python scripts/...`"
        run(workspace, sys.executable, *arguments)
        return
    script = workspace / "snippets.py"
    script.write_text(text)
    printed = run(workspace, sys.executable, str(script))
    if what == "In Python":
        assert "Total number of TensorRT engines: 1" in printed
    elif what == "Keras":
        assert "[1.0, " in printed  # the first epoch's export passed


def test_the_readme_has_both_kinds_of_steps():
    assert {what for what, _ in STEPS} >= {"command", "In Python", "Keras"}
