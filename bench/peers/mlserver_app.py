"""MLServer, run by `mlserver start` in a folder with the two settings files that peers.ts writes.

Defaults: one worker process, no batches.
Tuned: a worker process for each core ("Parallel Inference": `parallel_workers`) and batches of the MLP ("Adaptive
Batching": `max_batch_size`, `max_batch_time`), without the log lines of `debug` ("Settings"). A picture comes in base64
("Content Types"), which JSON needs; V2 has no other way for bytes here.
"""

from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec, decode_args
from mlserver.types import InferenceRequest, InferenceResponse
import numpy as np

import served


class Mlp(MLModel):
    async def load(self) -> bool:
        self.model = served.Mlp()
        return True

    @decode_args
    async def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.run(x)


class MobileNet(MLModel):
    async def load(self) -> bool:
        self.model = served.MobileNet()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [jpeg] = Base64Codec.decode_input(payload.inputs[0])
        [classes] = self.model.run(served.decode(jpeg)[None])
        labels = [each["label"] for each in classes]
        probabilities = np.asarray([each["probability"] for each in classes], np.float32)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels),
                NumpyCodec.encode_output("probability", probabilities),
            ],
        )
