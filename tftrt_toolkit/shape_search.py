"""Which shapes a segment's engine is built for: from the model's shapes to the segment's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf
from absl import logging

from tftrt_toolkit.artifacts import Observation, Segment, ShapeProfile
from tftrt_toolkit.boundary import infer_observations
from tftrt_toolkit.errors import error_line
from tftrt_toolkit.inputs import signature_specs
from tftrt_toolkit.pipeline import ConvertedSignature, observe
from tftrt_toolkit.profiles import dynamic_profiles, explicit_profile, static_profiles
from tftrt_toolkit.progress import Stages
from tftrt_toolkit.settings import Settings
from tftrt_toolkit.trials import Shapes, make_batch, profile_points


def known_observations(
    signature: ConvertedSignature, settings: Settings, stages: Stages
) -> dict[str, list[Observation]]:
    """Segment name -> its shapes at the model's min, opt and max; empty where these aren't known.

    Shape inference tells most; what it leaves open, a native run at each of the shapes tells.
    """
    specs = signature_specs(signature.frozen.function)
    points = profile_points(specs, settings.options.input_shapes)
    if points is None:
        return {}
    distinct = [points[0]] if points[0] == points[1] == points[2] else list(points)
    graph = signature.frozen.graph
    arguments = dict(zip(specs, graph.arguments, strict=False))
    segments = [candidate.segment for candidate in signature.candidates]
    with stages.stage("profiles", signature.key):
        seen = [
            infer_observations(
                graph, segments, {arguments[name]: shape for name, shape in point.items()}
            )
            for point in distinct
        ]
        inferred = set.intersection(*(set(one) for one in seen))
        known = {name: [one[name] for one in seen] for name in inferred}
        if len(known) < len(segments):
            known = _run_at(signature, specs, distinct) | known
    return known


def _run_at(
    signature: ConvertedSignature, specs: Mapping[str, tf.TensorSpec], points: Sequence[Shapes]
) -> dict[str, list[Observation]]:
    seen: dict[str, list[Observation]] = {}
    for point in points:
        try:
            records = observe(signature.converted, [make_batch(specs, point)], max_samples=0)
        except tf.errors.OpError as error:  # strings to decode, ids to look up: build() has them
            logging.info("%s: made-up inputs fail: %s", signature.key, error_line(error))
            return {}
        for record in records:
            seen.setdefault(record.segment.name, []).extend(record.observations)
    return {name: observations for name, observations in seen.items() if observations}


def segment_profiles(
    segment: Segment, observations: Sequence[Observation], settings: Settings
) -> tuple[ShapeProfile, ...]:
    """The optimization profiles of one segment's engines; none where every shape is fixed.

    Three observations of explicit ranges are min, opt and max; the strategy combines any others.
    """
    if all(spec.shape.is_fully_defined() for spec in segment.inputs):
        return ()
    if not settings.dynamic_shape:
        return static_profiles(observations)
    explicit = bool(settings.options.input_shapes) and len(observations) == 3
    if explicit and settings.strategy == "Range":
        return (explicit_profile(*observations),)
    return dynamic_profiles(observations, settings.strategy)
