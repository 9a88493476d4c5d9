"""A Keras application from training framework to engines, on two pictures that scikit-learn brings.

Run it whole, or cell by cell in an editor that knows `# %%`. The environment chooses:

    APPLICATION=ResNet50 WEIGHTS=imagenet OUTPUT=demo_output python examples/classify_pictures.py

APPLICATION is VGG16, ResNet50 or MobileNetV2 (or any other of Keras). WEIGHTS=imagenet downloads
trained weights; without it they are random, and only the agreement of both models says something.
"""

# %% What to run
import os
from pathlib import Path

import tensorflow as tf
from sklearn.datasets import load_sample_images

from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2, validate
from tftrt_toolkit.images import input_size, load_labels, preprocess, top_predictions
from tftrt_toolkit.validation import ValidationOptions, verdict_line

APPLICATION = os.environ.get("APPLICATION", "MobileNetV2")
WEIGHTS = os.environ.get("WEIGHTS") or None
OUTPUT = Path(os.environ.get("OUTPUT", "demo_output"))
SIZE = int(os.environ.get("SIZE", input_size(APPLICATION)[0]))

# %% The pictures: a temple and a flower, uint8 [427, 640, 3] each
samples = load_sample_images()
names = [Path(name).stem for name in samples.filenames]
batch = preprocess(samples.images, APPLICATION, (SIZE, SIZE))
print(f"{', '.join(names)}: {batch.dtype} {batch.shape}, {batch.min():.2f} to {batch.max():.2f}")

# %% The model, as its training leaves it
tf.keras.utils.set_random_seed(0)
build = getattr(tf.keras.applications, APPLICATION)
model = build(weights=WEIGHTS, input_shape=(SIZE, SIZE, 3))
original = OUTPUT / f"{APPLICATION.lower()}_original"
model.export(original, verbose=False)
(image,) = tf.saved_model.load(original).signatures["serving_default"].structured_input_signature[1]

# %% Engines of one GPU generation, for batches of 1 to 8
shape = (SIZE, SIZE, 3)
converter = TrtGraphConverterV2(
    str(original),
    use_dynamic_shape=True,
    precision_mode="FP16",
    options=ToolkitOptions(
        compute_capabilities=["8.9"],
        input_shapes={image: ShapeRange((1, *shape), (2, *shape), (8, *shape))},
    ),
)
converter.convert()
converted = OUTPUT / f"{APPLICATION.lower()}_converted"
converter.save(str(converted), overwrite=True)
report = converter.report()
print(f"{report['converted_nodes']} of {report['total_nodes']} nodes are in engines")

# %% Both on the same pictures; without a GPU the engines' FP16 is emulated
result = validate(original, converted, [batch], options=ValidationOptions())
print(verdict_line(result))

# %% What the converted model sees
index = Path.home() / ".keras" / "models" / "imagenet_class_index.json"
if WEIGHTS and not index.exists():
    tf.keras.applications.imagenet_utils.decode_predictions(model.predict(batch), top=1)
labels = load_labels(index) if WEIGHTS else None
outputs = tf.saved_model.load(converted).signatures["serving_default"](**{image: batch})
(scores,) = outputs.values()
for name, best in zip(names, top_predictions(scores.numpy(), 3, labels), strict=True):
    told = ", ".join(f"{one.label or one.index} {one.score:.1%}" for one in best)
    print(f"{name}: {told}")
