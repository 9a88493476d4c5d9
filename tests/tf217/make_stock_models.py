"""Write the SavedModels of `tests/compat/models` with TensorFlow 2.17.1's own converter code.

    python tests/tf217/make_stock_models.py OUTPUT_DIRECTORY

Without a GPU and TensorRT 8.6 the stock converter can't run, so exactly what needs them is
replaced: the version check, the device check, the Grappler pass (`rewrite` makes the same nodes and
functions by hand) and the op that writes engine files (the records hold bytes that no TensorRT
reads). All else, freezing, function rebuilding, tracking and saving, is the wheel's.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from engine_records import write_engines
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.compiler.tensorrt import trt_convert
from tensorflow.python.eager import wrap_function

ENGINES = {"first": "TRTEngineOp_000_000", "second": "TRTEngineOp_000_001"}
OLD_ENGINES = {"first": "TRTEngineOp_0", "second": "TRTEngineOp_1"}
ROWS = 3


class Model(tf.Module):
    """Two dense layers, and a sum between them that no engine could run."""

    def __init__(self):
        super().__init__()
        generator = np.random.default_rng(0)
        self.first = tf.Variable(generator.normal(size=(4, 8)).astype("f"), name="first_kernel")
        self.second = tf.Variable(generator.normal(size=(8, 2)).astype("f"), name="second_kernel")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        with tf.name_scope("first"):
            hidden = tf.nn.relu(tf.linalg.matmul(x, self.first) + 0.25)
        with tf.name_scope("between"):
            hidden = tf.math.cumsum(hidden, axis=1)
        with tf.name_scope("second"):
            logits = tf.linalg.matmul(hidden, self.second)
            return {"scores": tf.nn.softmax(logits), "doubled": tf.math.multiply(logits, 2.0)}


def example():
    return np.linspace(-1, 1, ROWS * 4, dtype=np.float32).reshape(ROWS, 4)


# ---- What Grappler's TensorRTOptimizer does -----------------------------------------------------


def rewrite(graph_def, engines, attributes, old_style=False):
    """Replace the nodes below each engine's scope by one TRTEngineOp and its native function."""
    for scope, engine in engines.items():
        inside = [node for node in graph_def.node if f"/{scope}/" in f"/{node.name}"]
        prefix = os.path.commonpath([node.name.rpartition("/")[0] for node in inside])
        make_engine(graph_def, f"{prefix}/{engine}", inside, attributes, old_style)
    return graph_def


def make_engine(graph_def, name, inside, attributes, old_style):
    members = {node.name for node in inside}
    shapes = infer_shapes(graph_def)
    outside = [node for node in graph_def.node if node.name not in members]
    inputs = ordered(
        full(source) for node in inside for source in data(node) if owner(source) not in members
    )
    outputs = ordered(
        full(source) for node in outside for source in data(node) if owner(source) in members
    )
    function_name = f"{name}_native_segment"
    function, segment = native_segment(inside, inputs, outputs, shapes, function_name)
    for node in outside:
        for position, source in enumerate(node.input):
            if owner(source) in members:
                control = source.startswith("^")
                node.input[position] = (
                    f"^{name}" if control else f"{name}:{outputs.index(full(source))}"
                )
    del graph_def.node[:]
    graph_def.node.extend(outside)
    graph_def.library.function.append(function)
    node = graph_def.node.add(name=name, op="TRTEngineOp", input=inputs)
    fill_attributes(node, function, [shapes[one] for one in inputs], [shapes[o] for o in outputs])
    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)
    if old_style:  # TensorFlow 1.13 and 1.14: the function by its name, the graph for the builder
        del node.attr["segment_func"], node.attr["max_batch_size"]
        node.attr["segment_funcdef_name"].s = function_name.encode()
        node.attr["serialized_segment"].s = segment.SerializeToString()


def fill_attributes(node, function, input_shapes, output_shapes):
    attr = node.attr
    attr["InT"].list.type.extend(shape_dtype[1] for shape_dtype in input_shapes)
    attr["OutT"].list.type.extend(shape_dtype[1] for shape_dtype in output_shapes)
    attr["input_shapes"].list.shape.extend(shape.as_proto() for shape, _ in input_shapes)
    attr["output_shapes"].list.shape.extend(shape.as_proto() for shape, _ in output_shapes)
    attr["segment_func"].func.name = function.signature.name
    attr["serialized_segment"].s = b""
    attr["calibration_data"].s = b""
    attr["static_engine"].b = False
    attr["max_cached_engines_count"].i = 1
    attr["workspace_size_bytes"].i = 1 << 30
    attr["max_batch_size"].i = 1
    attr["precision_mode"].s = b"FP32"
    attr["use_calibration"].b = False
    attr["use_explicit_precision"].b = False
    attr["_use_implicit_batch"].b = True
    attr["_allow_build_at_runtime"].b = True


def native_segment(inside, inputs, outputs, shapes, name):
    """The FunctionDef that RegisterGraphToFunctionLibrary makes, and the segment's GraphDef."""
    segment = tf.compat.v1.GraphDef()
    renamed = {}
    for index, tensor in enumerate(inputs):
        placeholder = segment.node.add(name=f"TensorRTInputPH_{index}", op="Placeholder")
        placeholder.attr["dtype"].type = shapes[tensor][1]
        placeholder.attr["shape"].shape.CopyFrom(shapes[tensor][0].as_proto())
        renamed[tensor] = placeholder.name
    for node in inside:
        copy = segment.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [renamed.get(full(source), source) for source in data(node)]
    for index, tensor in enumerate(outputs):
        identity = segment.node.add(name=f"TensorRTOutputPH_{index}", op="Identity", input=[tensor])
        identity.attr["T"].type = shapes[tensor][1]
    function = wrap_function.function_from_graph_def(
        segment,
        [f"TensorRTInputPH_{index}:0" for index in range(len(inputs))],
        [f"TensorRTOutputPH_{index}:0" for index in range(len(outputs))],
    )
    definition = tf.compat.v1.GraphDef().library.function.add()
    definition.CopyFrom(function.function_def)
    definition.signature.name = name
    definition.attr.clear()
    return definition, segment


def infer_shapes(graph_def):
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return {
        tensor.name: (tensor.shape, tensor.dtype.as_datatype_enum)
        for operation in graph.get_operations()
        for tensor in operation.outputs
    }


def full(tensor):
    return tensor if ":" in tensor else f"{tensor}:0"


def owner(tensor):
    return tensor.removeprefix("^").partition(":")[0]


def data(node):
    return [source for source in node.input if not source.startswith("^")]


def ordered(names):
    return list(dict.fromkeys(names))


# ---- The stock converter, less what it needs a GPU for ------------------------------------------


class FakeZeros:
    device = "/job:localhost/replica:0/task:0/device:GPU:0"


def write_engine_file(resource_name, filename, **_):
    write_engines(filename, [[(ROWS, 4)]], engine=f"TensorRT 8 plan of {resource_name}".encode())


def no_engine_file(resource_name, **_):
    raise tf.errors.NotFoundError(None, None, f"no cache of {resource_name}")


def resource_handle(name, device):
    """The stock function; TensorFlow 2.17 has no CPU kernel for the op, so eagerly a stand-in."""
    if tf.executing_eagerly():
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=name)
    with tf.device(device):
        return trt_convert.gen_trt_ops.create_trt_resource_handle(resource_name=name)


def destroy_nothing(_):
    """The stand-in handle holds nothing."""


@contextlib.contextmanager
def stock_without_gpu(with_engines):
    def run_conversion(converter, meta_graph_def):
        attributes = {}
        if converter._use_dynamic_shape:
            strategy = tf.compat.v1.AttrValue(s=converter._profile_strategy.lower().encode())
            attributes = {
                "profile_strategy": strategy,
                "_use_implicit_batch": tf.compat.v1.AttrValue(b=False),
            }
        return rewrite(meta_graph_def.graph_def, ENGINES, attributes)

    with contextlib.ExitStack() as stack:

        def patch(target, name, value):
            stack.enter_context(mock.patch.object(target, name, value))

        patch(trt_convert, "_check_trt_version_compatibility", lambda: None)
        patch(trt_convert, "_get_tensorrt_rewriter_config", lambda **_: None)
        patch(trt_convert, "_get_resource_handle", resource_handle)
        patch(trt_convert.array_ops, "zeros", lambda *_: FakeZeros)
        patch(trt_convert.TrtGraphConverterV2, "_run_conversion", run_conversion)
        patch(trt_convert.trt_utils, "is_linked_tensorrt_version_greater_equal", lambda *_: True)
        patch(trt_convert._TRTEngineResource, "_destroy_resource", destroy_nothing)
        writer = write_engine_file if with_engines else no_engine_file
        patch(trt_convert.gen_trt_ops, "serialize_trt_resource", writer)
        yield


def convert(source, target, features="", with_engines=True, **arguments):
    environment = mock.patch.dict(os.environ, TF_TRT_EXPERIMENTAL_FEATURES=features)
    with environment, stock_without_gpu(with_engines):
        converter = trt_convert.TrtGraphConverterV2(input_saved_model_dir=source, **arguments)
        converter.convert()
        converter.save(target)


# ---- TensorFlow 1 graphs ------------------------------------------------------------------------


def convert_v1(source, target, old_style):
    """A frozen TensorFlow 1 graph, as TrtGraphConverter and create_inference_graph saved them."""
    model = tf.saved_model.load(source)
    function = model.signatures["serving_default"]
    frozen = trt_convert.convert_to_constants.convert_variables_to_constants_v2(function)
    attributes = {
        "static_engine": tf.compat.v1.AttrValue(b=not old_style),
        "serialized_segment": tf.compat.v1.AttrValue(s=b"" if old_style else b"TensorRT 5 plan"),
    }
    graph_def = rewrite(frozen.graph.as_graph_def(), OLD_ENGINES, attributes, old_style)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        info = tf.compat.v1.saved_model.build_tensor_info
        signature = tf.compat.v1.saved_model.build_signature_def(
            {"x": info(graph.get_tensor_by_name(frozen.inputs[0].name))},
            {
                key: info(graph.get_tensor_by_name(output.name))
                for key, output in zip(
                    sorted(function.structured_outputs), frozen.outputs, strict=True
                )
            },
            "tensorflow/serving/predict",
        )
        builder = tf.compat.v1.saved_model.Builder(target)
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}
        )
        builder.save()
    if old_style:
        strip_newer_attributes(Path(target) / "saved_model.pb")


def strip_newer_attributes(path):
    """Leave the attributes that TensorFlow 1.14 knew, which had no `segment_func` yet."""
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for node in saved_model.meta_graphs[0].graph_def.node:
        if node.op == "TRTEngineOp":
            for name in ("segment_func", "max_batch_size", "profile_strategy"):
                node.attr.pop(name, None)
            for name in [
                name for name in node.attr if name.startswith(("_use", "_allow", "use_e"))
            ]:
                del node.attr[name]
    path.write_bytes(saved_model.SerializeToString(deterministic=True))


def main(output):
    output = Path(output)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    model = Model()

    source = str(output / "source")
    tf.saved_model.save(model, source, signatures=model.__call__)
    np.savez(output / "expected.npz", x=example(), **model(example()))

    convert(source, str(output / "static"))
    convert(source, str(output / "dynamic"), use_dynamic_shape=True)
    convert(source, str(output / "unbuilt"), with_engines=False)
    convert(source, str(output / "unfrozen"), "disable_graph_freezing", use_dynamic_shape=True)
    convert(source, str(output / "without_native_segments"), "remove_native_segments")
    convert_v1(source, str(output / "v1_inline_engine"), old_style=False)
    convert_v1(source, str(output / "v1_old_attributes"), old_style=True)
    shutil.rmtree(source)


if __name__ == "__main__":
    main(sys.argv[1])
