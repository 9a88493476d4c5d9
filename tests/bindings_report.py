"""Prints, as JSON, what each class of a TensorRT bindings module has: run with the module's name.

For the full TensorRT's bindings, `LD_LIBRARY_PATH` leads to libraries that have its C entry points
and nothing behind them (`stub_libraries`): enough to import, and to be asked for names.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

ENTRY_POINTS = """
void* createInferBuilder_INTERNAL(void) { return 0; }
void* createInferRefitter_INTERNAL(void) { return 0; }
void* createInferRuntime_INTERNAL(void) { return 0; }
void* createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
void* createNvOnnxParser_INTERNAL(void) { return 0; }
void* getBuilderPluginRegistry(void) { return 0; }
void* getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void) { return 0; }
"""


def stub_libraries(folder: Path, major: str) -> None:
    """Compile the libraries that the bindings of TensorRT `major` open."""
    source = folder / "stub.c"
    source.write_text(ENTRY_POINTS)
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        library = f"lib{name}.so.{major}"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library, source],
            check=True,
        )


def describe(module) -> dict:
    """Class -> attribute -> its docstring's first line, which is a method's signature."""
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {
        name: {
            attribute: (getattr(getattr(value, attribute), "__doc__", "") or "").split("\n")[0]
            for attribute in dir(value)
            if not attribute.startswith("_")
        }
        for name, value in classes.items()
    }


if __name__ == "__main__":
    found = importlib.import_module(sys.argv[1])
    print(json.dumps({"version": found.__version__, "classes": describe(found)}))
