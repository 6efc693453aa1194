"""Ray Serve.

Defaults: one replica, one request at a time each call ("Getting Started": `await request.json()`).
Tuned: a replica for each core ("Resource Allocation": `num_cpus=1`), batches for the MLP ("Dynamic Request Batching"),
as many requests let into a replica as may come (`max_ongoing_requests`, "Performance Tuning": it has to be at least the
batch size), and the throughput-optimized mode of "Performance Tuning" (its variable is set in peers.ts). That mode asks
handlers not to block, so pictures are worked on in a thread: one, as a replica has one core ("Asyncio and concurrency
best practices", "Threadpool sizing and overrides"). No line in the log for each request (reference of `LoggingConfig`:
`enable_access_log`).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
import os
import signal

# Beside everything else that this process writes, instead of a place that all such servers share; short, because of the
# 97 characters that HAProxy allows the path of a socket.
os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"] = os.path.abspath("ha/haproxy.cfg")
os.environ["RAY_SERVE_HAPROXY_SOCKET_PATH"] = os.path.abspath("ha/admin.sock")
os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"] = os.path.abspath("ha")
os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_FILE"] = os.path.abspath("ha/server-state")

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

import served

if served.TUNED:
    options = {
        "num_replicas": served.CORES,
        "max_ongoing_requests": 100,
        "ray_actor_options": {"num_cpus": 1},
        "logging_config": {"enable_access_log": False},
    }
else:
    options = {}


@serve.deployment(**options)
class Mlp:
    def __init__(self) -> None:
        self.model = served.Mlp()

    async def __call__(self, request: Request) -> dict:
        row = np.asarray((await request.json())["x"], np.float32)
        y = await self.batch(row) if served.TUNED else self.model.run(row[None])[0]
        return {"y": y.tolist()}

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def batch(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.model.run(np.stack(rows)))


@serve.deployment(**options)
class MobileNet:
    def __init__(self) -> None:
        self.model = served.MobileNet()
        self.thread = ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> dict:
        form = await request.form()
        jpeg = await form["image"].read()
        if not served.TUNED:
            return {"classes": self.classify(jpeg)}
        return {"classes": await asyncio.get_running_loop().run_in_executor(self.thread, self.classify, jpeg)}

    def classify(self, jpeg: bytes) -> list[dict]:
        [classes] = self.model.run(served.decode(jpeg)[None])
        return classes


if __name__ == "__main__":
    ray.init(include_dashboard=False, _temp_dir=os.getcwd())
    serve.start(http_options={"host": "127.0.0.1", "port": served.PORT})
    serve.run(Mlp.bind() if served.WORKLOAD == "mlp" else MobileNet.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
