"""What every peer serves, so that only the servers differ: the MLP and MobileNet on ONNX Runtime, pictures by Pillow.

A peer process is told what it is by its environment (peer-process.ts): the folder of the models, which of the two
workloads it is for, and how many cores there are. PEER_TUNED is "1" for the variant that follows the documentation's
advice, "0" for the one at its defaults.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

FOLDER = Path(os.environ["PEER_MODELS"])
WORKLOAD = os.environ["PEER_WORKLOAD"]  # "mlp" or "mobilenet"
TUNED = os.environ["PEER_TUNED"] == "1"
CORES = int(os.environ["PEER_CORES"])
PORT = int(os.environ["PEER_PORT"])

SIDE = 224
TOP = 5


def open_session(name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    if TUNED:
        # ONNX Runtime, "Thread management": where processes share the cores, one thread each, and none that spins.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(FOLDER / name, options, providers=["CPUExecutionProvider"])


class Mlp:
    def __init__(self) -> None:
        self.session = open_session("mlp.onnx")
        self.input = self.session.get_inputs()[0].name

    def run(self, rows: np.ndarray) -> np.ndarray:
        """[n, 64] to [n, 10], float32."""
        return self.session.run(None, {self.input: rows})[0]


def decode(jpeg: bytes) -> np.ndarray:
    return pixels(Image.open(io.BytesIO(jpeg)))


def pixels(picture: Image.Image) -> np.ndarray:
    """[224, 224, 3], from -1 to 1: what catalog/auspex/mobilenet.json says of a picture."""
    if TUNED:
        # Pillow, "Image.draft": a JPEG may be decoded at half its size where that is enough, as Auspex does too.
        picture.draft("RGB", (SIDE, SIDE))
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1)


class MobileNet:
    def __init__(self) -> None:
        self.session = open_session("mobilenet.onnx")
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[0].name
        self.labels = json.loads((FOLDER / "labels.json").read_text())

    def run(self, pictures: np.ndarray) -> list[list[dict]]:
        """[n, 224, 224, 3] to the best classes of each."""
        return [self.best(scores) for scores in self.session.run([self.output], {self.input: pictures})[0]]

    def best(self, scores: np.ndarray) -> list[dict]:
        order = np.argsort(scores)[::-1][:TOP]
        return [{"label": self.labels[i], "probability": float(scores[i])} for i in order]
