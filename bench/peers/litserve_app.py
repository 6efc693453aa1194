"""LitServe.

Defaults: one worker, one request at a time.
Tuned: workers_per_device as many as cores (reference of `LitServer`: "For CPU, set to the number of cores"), ZeroMQ
between the processes (`fast_queue`, "for high-throughput scenarios"), batches of the MLP ("Batching"), warnings only in
the log ("production" in the reference of `run`). Pictures are not batched: a worker would take as many as there are and
decode them one by one while the other has none.
"""

import litserve as ls
import numpy as np

import served


class Mlp(ls.LitAPI):
    def setup(self, device):
        self.model = served.Mlp()

    def decode_request(self, request):
        return np.asarray(request["x"], np.float32)

    def predict(self, x):
        # Without batches it is given one row.
        return self.model.run(x) if served.TUNED else self.model.run(x[None])[0]

    def encode_response(self, y):
        return {"y": y.tolist()}


class MobileNet(ls.LitAPI):
    def setup(self, device):
        self.model = served.MobileNet()

    def decode_request(self, request):
        return served.decode(request["image"].file.read())

    def predict(self, x):
        [classes] = self.model.run(x[None])
        return classes

    def encode_response(self, classes):
        return {"classes": classes}


if __name__ == "__main__":
    kind = Mlp if served.WORKLOAD == "mlp" else MobileNet
    if served.TUNED:
        api = kind(max_batch_size=32, batch_timeout=0.001) if kind is Mlp else kind()
        server = ls.LitServer(api, accelerator="cpu", workers_per_device=served.CORES, fast_queue=True)
        server.run(host="127.0.0.1", port=served.PORT, log_level="warning", generate_client_file=False)
    else:
        server = ls.LitServer(kind(), accelerator="cpu")
        server.run(host="127.0.0.1", port=served.PORT, generate_client_file=False)
