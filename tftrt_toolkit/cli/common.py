"""What every command shares: one-line errors and exit codes."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from absl import app, flags, logging

from tftrt_toolkit.errors import InternalError, InvalidArgumentError, ToolkitError
from tftrt_toolkit.files import write_text
from tftrt_toolkit.html_page import import_jinja2

Report = TypeVar("Report")
EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def run(main: Callable[[], int], required: Sequence[str] = ()) -> None:
    """Parse flags, call `main` and exit with its code.

    Exit codes: 0 done; 1 the job could not be done, said in one line; 2 the flags are wrong;
    130 interrupted.
    """
    # What the imports made stays: collections needn't walk it again and again, nor walk at the end
    # what goes with the process.
    gc.freeze()
    atexit.register(gc.freeze)
    # --help tells of the main module, which only wraps the command's own.
    sys.modules["__main__"].__doc__ = sys.modules[main.__module__].__doc__
    for flag in flags.FLAGS.get_flags_for_module(main.__module__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    if required:
        flags.mark_flags_as_required(list(required))
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)


def _parse(argv: Sequence[str]) -> Sequence[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        first_line = str(error).strip().splitlines()[-1].strip()
        _fail(f"{first_line}. --help tells the flags", EXIT_USAGE)
    # Progress has its own lines; --verbosity=0 adds the builder's and TensorFlow's. Not as the
    # flag's default, which absl overrides.
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.WARNING
    return rest


def _guarded(main: Callable[[], int], argv: Sequence[str]) -> int:
    if len(argv) > 1:
        _fail(f"unexpected argument {argv[1]!r}: this command takes flags only", EXIT_USAGE)
    try:
        return main()
    except InternalError:
        raise  # a fault of ours: the traceback is wanted
    except ToolkitError as error:
        code = EXIT_USAGE if isinstance(error, InvalidArgumentError) else EXIT_REFUSED
        _fail(str(error), code)
    except OSError as error:
        _fail(f"{error}: check the path, its permissions and the space left", EXIT_REFUSED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-written is left", EXIT_INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def check_suffixes(paths: Sequence[str], writers: Mapping[str, Any], flag: str = "report") -> None:
    """Raise InvalidArgumentError unless each of a flag's files has a known suffix.

    Raises MissingDependencyError where an HTML page is wanted that can't be made: before the work.
    """
    for path in paths:
        if Path(path).suffix not in writers:
            raise InvalidArgumentError(
                f"--{flag}={path} has no known suffix: use one of {', '.join(writers)}"
            )
        if Path(path).suffix == ".html":
            import_jinja2()


def parse_image_range(values: Sequence[str]) -> tuple[float, float]:
    """Parse --image_range, the values of black and white. Raises InvalidArgumentError."""
    try:
        low, high = (float(value) for value in values)
    except ValueError as error:
        raise InvalidArgumentError(
            f"--image_range={','.join(values)} is not two numbers: write it like -1,1"
        ) from error
    return low, high


def write_reports(
    report: Report, paths: Sequence[str], writers: Mapping[str, Callable[[Report], str]]
) -> None:
    """Write a report to each file, in the form that its suffix stands for."""
    for path in map(Path, paths):
        write_text(path, writers[path.suffix](report))
