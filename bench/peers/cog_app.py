"""Cog's server (`python -m cog.server.http`), as `cog build` would start it in an image.

Defaults: one prediction at a time; whoever comes meanwhile is refused with 409.
Tuned: `async def` and as many at once as may come ("HTTP API", `concurrency.max` of cog.yaml; in an image it is the
variable COG_MAX_CONCURRENCY, which peers.ts sets), and warnings only in the log ("Environment variables":
COG_LOG_LEVEL). There is one process whatever is set. Pictures come as data URIs ("HTTP API", "File inputs") and are
worked on in threads.
"""

import asyncio

from cog import BasePredictor, Input, Path
import numpy as np

import served


class MlpBase(BasePredictor):
    def setup(self) -> None:
        self.model = served.Mlp()

    def run_row(self, x: list[float]) -> list[float]:
        return self.model.run(np.asarray([x], np.float32))[0].tolist()


class MobileNetBase(BasePredictor):
    def setup(self) -> None:
        self.model = served.MobileNet()

    def classify(self, image: Path) -> list[dict]:
        [classes] = self.model.run(served.decode(image.read_bytes())[None])
        return classes


class Mlp(MlpBase):
    def predict(self, x: list[float] = Input()) -> list[float]:
        return self.run_row(x)


class MlpTuned(MlpBase):
    async def predict(self, x: list[float] = Input()) -> list[float]:
        return self.run_row(x)


class MobileNet(MobileNetBase):
    def predict(self, image: Path = Input()) -> list[dict]:
        return self.classify(image)


class MobileNetTuned(MobileNetBase):
    async def predict(self, image: Path = Input()) -> list[dict]:
        return await asyncio.to_thread(self.classify, image)
