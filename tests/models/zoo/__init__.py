"""Models that the tests and benchmarks convert: random weights, seeded, nothing downloaded.

`MODELS[name].save(directory)` writes one as a SavedModel. The weights are drawn so that activations
keep about unit size through the whole network: an output that is the same for every input, or
nothing but zeros, would compare equal whatever a conversion did.
"""

from tests.models.zoo import mixed, sequence, vision
from tests.models.zoo.model import ZooModel

MODELS: dict[str, ZooModel] = {
    model.name: model for model in (*vision.MODELS, *sequence.MODELS, *mixed.MODELS)
}

__all__ = ["MODELS", "ZooModel"]
