"""The engine files of stock TF-TRT: TFRecords of TRTEngineInstance protos."""

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_shape_pb2


def _engine_instance_class():
    # The wheel compiles the proto into its library only; Python needs it described anew.
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/trt_engine_instance.proto",
        package="tensorflow.tensorrt",
        dependency=[tensor_shape_pb2.DESCRIPTOR.name],
        syntax="proto3",
    )
    message = file.message_type.add(name="TRTEngineInstance")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(
        name="input_shapes",
        number=1,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.TensorShapeProto",
    )
    message.field.add(
        name="serialized_engine", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_BYTES
    )
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.tensorrt.TRTEngineInstance")
    )


TRTEngineInstance = _engine_instance_class()


def write_engines(filename, engines, engine=b"plan"):
    """One record an engine; `engines` lists the shapes of each one's inputs."""
    with tf.io.TFRecordWriter(filename) as writer:
        for shapes in engines:
            instance = TRTEngineInstance(serialized_engine=engine)
            instance.input_shapes.extend(tf.TensorShape(shape).as_proto() for shape in shapes)
            writer.write(instance.SerializeToString())
