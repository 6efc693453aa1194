"""FastAPI, run by uvicorn (peers.ts has the command lines).

Defaults: plain functions, as in the tutorial ("Request Body", "Request Files"), which FastAPI runs in its thread pool;
one process.
Tuned: a process for each core ("Server Workers - Uvicorn with Workers"), uvloop and httptools (`uvicorn[standard]`) and
no access log ("Settings" of uvicorn), and `async def` for what takes microseconds ("Concurrency and async / await":
trivial work is slower in the thread pool). Pictures stay in the thread pool, since they would block the loop.
"""

from fastapi import FastAPI, UploadFile
from pydantic import BaseModel
import numpy as np

import served

app = FastAPI()
model = served.Mlp() if served.WORKLOAD == "mlp" else served.MobileNet()


class Row(BaseModel):
    x: list[float]


class Answer(BaseModel):
    y: list[float]


class Class(BaseModel):
    label: str
    probability: float


class Classes(BaseModel):
    classes: list[Class]


def run(row: Row) -> Answer:
    [y] = model.run(np.asarray([row.x], np.float32))
    return Answer(y=y.tolist())


if served.TUNED:

    @app.post("/mlp")
    async def mlp(row: Row) -> Answer:
        return run(row)

else:

    @app.post("/mlp")
    def mlp(row: Row) -> Answer:
        return run(row)


@app.post("/mobilenet")
def mobilenet(image: UploadFile) -> Classes:
    [classes] = model.run(served.decode(image.file.read())[None])
    return Classes(classes=classes)
