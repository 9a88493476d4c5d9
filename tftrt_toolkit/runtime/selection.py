"""Which executor runs a segment here, and why not those before it."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from tftrt_toolkit import trt
from tftrt_toolkit.artifacts import Plan
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.manifest import Manifest, PlanEntry, TunedExecutor

# "tuned": the executor that was fastest on this device when the model was tuned.
EXECUTORS = ("tuned", "tensorrt", "onnxruntime", "xla", "native")
# Never slower than native unless that was asked for.
DEFAULT = ("tuned", "tensorrt", "native")
ENVIRONMENT = "TFTRT_TOOLKIT_EXECUTORS"

_chosen: tuple[str, ...] | None = None


def set_executors(names: Sequence[str] | None) -> None:
    """Which executors may run segments that are loaded or bound from now on, the best first.

    Of "tuned", "tensorrt", "onnxruntime", "xla" and "native"; a segment that none of them can run
    is native. None: those of the environment variable TFTRT_TOOLKIT_EXECUTORS (comma-separated),
    else `("tuned", "tensorrt", "native")`. Raises InvalidArgumentError on an unknown name.
    """
    global _chosen
    _chosen = None if names is None else check_names(names, "executors")


def allowed_executors() -> tuple[str, ...]:
    """Those of `set_executors`, else of the environment, else the default."""
    if _chosen is not None:
        return _chosen
    from_environment = os.environ.get(ENVIRONMENT, "")
    names = [name.strip() for name in from_environment.split(",") if name.strip()]
    return check_names(names, ENVIRONMENT) if names else DEFAULT


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names as a tuple; InvalidArgumentError if one is unknown."""
    if isinstance(names, str):
        raise InvalidArgumentError(f"{where} takes a sequence of names, not the string {names!r}")
    for name in names:
        if name not in EXECUTORS:
            raise InvalidArgumentError(
                f"{where}: no executor is called {name!r}: use {', '.join(EXECUTORS)}"
            )
    return tuple(names)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The executor to run a segment by, and the reasons why each before it couldn't be taken.

    plans: the fitting plans, for "tensorrt". tuned: the winners on this device, for "tuned".
    """

    executor: str
    reasons: tuple[str, ...]
    plans: tuple[PlanEntry, ...] = ()
    tuned: tuple[TunedExecutor, ...] = ()

    @property
    def reason(self) -> str:
        """All reasons in one line; empty if the first executor was taken."""
        return "; ".join(self.reasons)


def choose(
    manifest: Manifest, allowed: Sequence[str], can_build: Callable[[], bool] = bool
) -> Choice:
    """The first allowed executor that can run the segment on this machine; native if none can.

    can_build: engines can be built while the model runs, if the model allows it.
    """
    reasons: list[str] = []
    for name in allowed:
        if name == "native" or name == "xla":
            return Choice(name, tuple(reasons))
        if name == "tensorrt":
            plans, why = fitting_plans(manifest.plans)
            if plans or (manifest.onnx is not None and gpu_capabilities() and can_build()):
                return Choice(name, tuple(reasons), plans=plans)
            reasons.append(why)
        elif name == "tuned":
            tuned = tuple(one for one in manifest.tuned if one.device == device_name())
            if tuned:
                return Choice(name, tuple(reasons), tuned=tuned)
        elif reason := _no_onnxruntime(manifest):
            reasons.append(reason)
        else:
            return Choice(name, tuple(reasons))
    return Choice("native", tuple(reasons))


def fitting_plans(plans: Sequence[PlanEntry]) -> tuple[tuple[PlanEntry, ...], str]:
    """The plans that a GPU and a TensorRT of this machine can run; if none, the reason."""
    if not plans:
        return (), "it holds no plan"
    capabilities = gpu_capabilities()
    if not capabilities:
        return (), "no GPU here"
    fitting, reasons = [], []
    for plan in plans:
        reason = misfit(plan, capabilities)
        if reason is None:
            fitting.append(plan)
        else:
            reasons.append(reason)
    if fitting:
        return tuple(fitting), ""
    targets = sorted({target for plan in plans for target in plan.targets}, key=_as_numbers)
    if all(reason == _WRONG_GPU for reason in reasons):
        return (), (
            f"no plan for compute capability {', '.join(capabilities)}; it has {', '.join(targets)}"
        )
    return (), "; ".join(dict.fromkeys(one for one in reasons if one != _WRONG_GPU))


_WRONG_GPU = "another GPU's plan"


def misfit(plan: PlanEntry | Plan, capabilities: Sequence[str]) -> str | None:
    """Why a plan can't run on any GPU of these compute capabilities; None if it can."""
    if not set(plan.targets) & set(capabilities):
        return _WRONG_GPU
    found = trt.load(plan.flavour)
    if isinstance(found, trt.Unavailable):
        return found.reason
    if _release(found.version) != _release(plan.version):
        return (
            f"its plan is of {plan.flavour} {plan.version}, here is {found.version}, "
            "and plans don't move between versions"
        )
    return None


def _release(version: str) -> tuple[str, ...]:
    """Major, minor and patch: TensorRT refuses plans that differ in these."""
    return tuple(version.split(".")[:3])


def _as_numbers(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split(".") if part.isdigit())


def _no_onnxruntime(manifest: Manifest) -> str | None:
    if manifest.onnx is None:
        return "it holds no ONNX"
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    return None


@functools.cache
def gpu_capabilities() -> tuple[str, ...]:
    """Compute capabilities ("8.9") of the GPUs that TensorFlow sees, each once."""
    count = len(tf.config.list_physical_devices("GPU"))
    return tuple(dict.fromkeys(filter(None, map(capability_of, range(count)))))


@functools.cache
def capability_of(ordinal: int) -> str:
    """Compute capability of the GPU of a CUDA ordinal; empty if there is none."""
    devices = tf.config.list_physical_devices("GPU")
    if ordinal >= len(devices):
        return ""
    found = tf.config.experimental.get_device_details(devices[ordinal]).get("compute_capability")
    return f"{found[0]}.{found[1]}" if found else ""


@functools.cache
def device_name() -> str:
    """The first GPU's name as TensorFlow tells it, e.g. "NVIDIA H200"; "CPU" without one."""
    for device in tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_device_details(device).get("device_name", "GPU")
    return "CPU"
