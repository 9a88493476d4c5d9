"""SavedModels of TensorFlow 1, for the tests of several folders."""

import tensorflow as tf

v1 = tf.compat.v1


def save_tf1_model(directory, use_resource, loop=False):
    """Two signatures over shared variables: `serving_default`, and `words` behind a table.

    loop: `serving_default` ends in a loop of Switch, Merge and NextIteration.
    """
    words_file = directory.parent / "words.txt"
    words_file.write_text("a\nb\nc\n")
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, 64], "rows")
        words = v1.placeholder(tf.string, [None], "words")
        with v1.variable_scope("dense", use_resource=use_resource):
            kernel = v1.get_variable("kernel", [64, 128])
            bias = v1.get_variable("bias", [128], initializer=v1.ones_initializer())
            table = v1.get_variable("embedding", [100, 64])
        scores = tf.nn.relu(tf.matmul(rows, kernel) + bias)
        if loop:
            scores = _loop(scores, kernel)
        initializer = tf.lookup.TextFileInitializer(
            str(words_file),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        ids = tf.lookup.StaticHashTable(initializer, 99).lookup(words)
        vectors = tf.matmul(tf.nn.embedding_lookup(table, ids), kernel)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        signature = v1.saved_model.predict_signature_def
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature({"rows": rows}, {"scores": scores}),
                "words": signature({"words": words}, {"vectors": vectors}),
            },
            main_op=v1.tables_initializer(),
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    words_file.unlink()
    return directory


def _loop(scores, kernel):
    v1.disable_control_flow_v2()
    try:
        return v1.while_loop(
            lambda step, _: step < 3,
            lambda step, state: (
                step + 1,
                tf.tanh(tf.matmul(tf.matmul(state, kernel, transpose_b=True), kernel)),
            ),
            [0, scores],
        )[1]
    finally:
        v1.enable_control_flow_v2()


INPUTS = {
    "serving_default": {"rows": tf.random.stateless_normal([3, 64], [1, 2])},
    "words": {"words": tf.constant(["a", "c", "unheard of"])},
}
