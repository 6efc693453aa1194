"""BentoML, run by `bentoml serve`.

Defaults: one worker, the methods' types say what comes in.
Tuned: a worker for each core ("Parallelize requests handling": `workers="cpu_count"`), adaptive batching for the MLP
("Adaptive batching"), and no line in the log for each request ("Configurations": `logging`). Pictures are not batched:
each worker is kept busy by one at a time.
"""

import bentoml
import numpy as np
from PIL.Image import Image as PILImage

import served

tuning = {"workers": "cpu_count", "logging": {"access": {"enabled": False}}} if served.TUNED else {}


@bentoml.service(**tuning)
class Mlp:
    def __init__(self) -> None:
        self.model = served.Mlp()

    @bentoml.api(batchable=served.TUNED)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.run(x.astype(np.float32))


@bentoml.service(**tuning)
class MobileNet:
    def __init__(self) -> None:
        self.model = served.MobileNet()

    @bentoml.api
    def predict(self, image: PILImage) -> list[dict]:
        [classes] = self.model.run(served.pixels(image)[None])
        return classes
