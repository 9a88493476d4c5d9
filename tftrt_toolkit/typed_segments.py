"""Each segment's precision: from ranges, options and the precision file to its typed ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tftrt_toolkit import calibrating
from tftrt_toolkit.accuracy_budget import Budget, Typing, meet_budget
from tftrt_toolkit.artifacts import Island, Segment, TypedOnnx
from tftrt_toolkit.calibrating import TRIAL, SegmentRanges
from tftrt_toolkit.errors import CalibrationError
from tftrt_toolkit.inputs import DataSource
from tftrt_toolkit.pipeline import Candidate, ConvertedSignature
from tftrt_toolkit.precision import (
    Calibration,
    Override,
    PrecisionOptions,
    load_calibrations,
    load_overrides,
    prepare,
    resolve_calibrator,
    with_overrides,
)
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings

Key = tuple[str, tuple[str, ...]]  # graph, nodes: what makes a segment the same in two rounds
# BF16 is proposed where more of the nodes than this stay FP32 in FP16, and half as many in BF16.
_MANY_ISLANDS = 0.05
_CONVOLUTIONS = {"Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput"}


def key_of(segment: Segment) -> Key:
    """The same for a segment that is cut again in another round."""
    return segment.graph, segment.nodes


class SegmentTyper:
    """Types the segments of a conversion, each once, and remembers why it came out as it did.

    remarks: sentences for the report. budgets: what was found for each signature.
    """

    def __init__(self, settings: Settings, stages: Stages) -> None:
        """Read the files that the options name; raises CalibrationError, InvalidArgumentError."""
        options = settings.options
        self.remarks: list[str] = []
        self.budgets: list[Budget] = []
        self._settings = settings
        self._stages = stages
        self._base = PrecisionOptions(
            calibrator=options.calibrator,
            rest=options.rest_precision,
            attention=options.quantize_attention,
        )
        self._overrides = load_overrides(options.precision_file) if options.precision_file else []
        self._file = load_calibrations(options.calibration_file) if options.calibration_file else {}
        self._ranges: dict[Key, SegmentRanges] = {}
        self._names: dict[Key, str] = {}
        self._typings: dict[Key, Typing] = {}
        self._typed: dict[Key, TypedOnnx] = {}
        self._without_ranges: CalibrationError | None = None
        self._runs: dict[str, calibrating.CalibrationRun] = {}  # by signature

    @property
    def overrides(self) -> tuple[Override, ...]:
        """The precision file's lines and those that the budget added."""
        found = (line for budget in self.budgets for line in budget.overrides)
        return (*self._overrides, *found)

    def calibrations(self) -> dict[str, Calibration]:
        """What was calibrated on data, under the segments' names.

        Segments that the builder refused and that were cut anew are in it too: a conversion that
        takes the file passes through the same rounds.
        """
        found: dict[str, Calibration] = {}
        for key, ranges in self._ranges.items():
            name, count = self._names[key], 1
            while name in found:
                count += 1
                name = f"{self._names[key]}#{count}"
            if ranges.source != TRIAL:
                found[name] = ranges.calibration
        return found

    def ranges(self, segment: Segment) -> SegmentRanges | None:
        """What is known of a segment's ranges."""
        return self._ranges.get(key_of(segment))

    def calibrate(self, signature: ConvertedSignature, source: DataSource) -> None:
        """Calibrate those segments that aren't yet."""
        if {key_of(one.segment) for one in signature.candidates} <= self._typed.keys():
            return
        keep = self._base.calibrator == "auto"
        run = calibrating.calibrate(signature, source, self._stages, keep_batches=keep)
        self._runs[signature.key] = run
        for candidate in signature.candidates:
            if candidate.segment.name in run.segments:
                self._remember(candidate, run.segments[candidate.segment.name])
        self._note(f"{signature.key} was calibrated on {run.batches} batches")

    def type_signature(self, signature: ConvertedSignature) -> None:
        """Type those segments that aren't yet, so that together they meet the budget if any."""
        new = [one for one in signature.candidates if key_of(one.segment) not in self._typed]
        if not new:
            return
        if self._file:
            self._read_file(new)
        for candidate in new:
            with self._stages.stage("precision", candidate.segment.name):
                self._type(candidate)
        if self._without_ranges and not self._quantizes_any():
            raise self._without_ranges
        if self._settings.options.max_error is not None:
            self._meet_budget(signature, new)

    def typed(self, candidate: Candidate) -> TypedOnnx:
        """A segment's typed ONNX, for TensorRT 10 and 11 and for other executors."""
        return self._typed[key_of(candidate.segment)]

    def typed_for(self, candidate: Candidate, flavour: str) -> TypedOnnx:
        """What a builder gets: TensorRT-RTX has no INT8 convolutions worth using."""
        typed = self.typed(candidate)
        has_convolutions = candidate.segment.op_counts.keys() & _CONVOLUTIONS
        if flavour != "tensorrt_rtx" or typed.precision != "INT8" or not has_convolutions:
            return typed
        typing = self._typings[key_of(candidate.segment)]
        options = dataclasses.replace(typing.options, convolutions=False)
        without = dataclasses.replace(typing, options=options).apply()
        if len(without.islands) > len(typed.islands):
            self._note(
                "TensorRT-RTX's plans keep convolutions in FP16, since its INT8 ones come with "
                "conversions around them; the ONNX that TensorRT 10 and 11 build from has them "
                "quantized"
            )
        return without

    def _remember(self, candidate: Candidate, ranges: SegmentRanges) -> None:
        key = key_of(candidate.segment)
        self._ranges[key] = ranges
        self._names[key] = candidate.segment.name

    def _read_file(self, candidates: Sequence[Candidate]) -> None:
        path = self._settings.options.calibration_file
        assert path is not None
        for candidate in candidates:
            # What a later round cut anew may bear another's name.
            found = calibrating.from_file(candidate, self._file, path, strict=not self._typed)
            if found is not None:
                self._remember(candidate, found)
        if not self._ranges:
            raise CalibrationError(
                f"{path} says nothing of this model's segments: it was made from another model, or "
                "with other options; calibrate this model anew"
            )

    def _type(self, candidate: Candidate) -> None:
        key = key_of(candidate.segment)
        prepared = candidate
        if self._settings.precision != "FP32":
            # Once for ranges and types; not kept, as weights may have been copied.
            prepared = dataclasses.replace(candidate, onnx=prepare(candidate.onnx))
        typing = self._typing(prepared)
        try:
            typed = typing.apply()
        except CalibrationError as error:
            if not self._has_own_ranges():
                raise
            self._without_ranges = self._without_ranges or error
            self._note(
                f"{candidate.segment.name} has no fake quantization: it runs in {self._base.rest}"
            )
            typing = dataclasses.replace(typing, precision=self._base.rest)
            typed = typing.apply()
        if typing.precision == "FP16":
            self._propose_bf16(typing, typed.islands)
        self._typings[key] = dataclasses.replace(typing, candidate=candidate)
        self._typed[key] = typed

    def _typing(self, candidate: Candidate) -> Typing:
        segment, precision = candidate.segment, self._settings.precision
        ranges = self._find_ranges(candidate)
        if self._settings.needs_calibration and (ranges is None or ranges.source == TRIAL):
            rest = self._base.rest
            self._note(f"{segment.name} was reached by no calibration data: it runs in {rest}")
            precision = rest
        options = with_overrides(self._base, self._overrides, segment.name)
        calibration = ranges.calibration if ranges else None
        if precision in ("INT8", "FP8") and calibration is not None and ranges is not None:
            with self._stages.stage("calibrator", segment.name):
                chosen = resolve_calibrator(
                    candidate.onnx, precision, calibration, ranges.kept, options
                )
            if chosen != options:
                self._note(f"{segment.name}: of all calibrators, {chosen.calibrator} did best")
            options = chosen
        return Typing(candidate, precision, calibration, options)

    def _find_ranges(self, candidate: Candidate) -> SegmentRanges | None:
        """From data or the file, else from the check's trial runs, which never set INT8 scales."""
        known = self.ranges(candidate.segment)
        if known is not None:
            return known
        if not self._runs_half() or self._has_own_ranges():
            return None
        found = calibrating.from_samples(candidate)
        if found is None:
            self._note(
                f"no trial run tells {candidate.segment.name}'s ranges: its constants alone decide "
                "which of its nodes stay FP32"
            )
            return None
        self._note(
            "FP16 ranges come from trial runs on made-up inputs: calibration data would tell those "
            "of real ones"
        )
        self._remember(candidate, found)
        return found

    def _runs_half(self) -> bool:
        """Whether anything at all is to run in FP16."""
        precision = self._settings.precision
        rest = precision if precision in ("FP32", "FP16", "BF16") else self._base.rest
        return rest == "FP16"

    def _has_own_ranges(self) -> bool:
        """Whether fake quantization is all that may set INT8 scales."""
        settings = self._settings
        return settings.precision in ("INT8", "FP8") and not settings.needs_calibration

    def _quantizes_any(self) -> bool:
        return any(typed.precision in ("INT8", "FP8") for typed in self._typed.values())

    def _propose_bf16(self, typing: Typing, islands: Sequence[Island]) -> None:
        candidate = typing.candidate
        nodes = len(candidate.onnx.proto.graph.node)
        if len(islands) <= _MANY_ISLANDS * nodes:
            return
        other = dataclasses.replace(typing, precision="BF16").apply()
        if len(other.islands) * 2 <= len(islands):
            self._note(
                f"{candidate.segment.name} keeps {len(islands)} nodes in FP32: BF16 (compute "
                f"capability 8.0 and later) would keep {len(other.islands)}"
            )

    def _meet_budget(self, signature: ConvertedSignature, new: Sequence[Candidate]) -> None:
        options, run = self._settings.options, self._runs.get(signature.key)
        assert options.max_error is not None
        if run is None and options.metric is None:
            self._note("max_error was measured on made-up inputs: calibration data would be better")
        typings = {one.segment.name: self._typings[key_of(one.segment)] for one in new}
        everything = {one.segment.name: self.typed(one) for one in signature.candidates}
        with self._stages.stage("budget", signature.key):
            budget = meet_budget(
                signature,
                typings,
                {name: typed for name, typed in everything.items() if name not in typings},
                options.max_error,
                run.kept if run else signature.trial_batches,
                options.metric,
            )
        self.budgets.append(budget)
        for candidate in new:
            key = key_of(candidate.segment)
            self._typings[key] = budget.typings[candidate.segment.name]
            self._typed[key] = self._typings[key].apply()

    def _note(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)
