"""A FastAPI application, for uvicorn.

uvicorn can be told to make its loop with evenloop, or run on it as it is:

    uvicorn --app-dir examples --loop evenloop:new_event_loop fastapi_app:app
    evenloop run -m uvicorn --app-dir examples fastapi_app:app
    evenloop run -m uvicorn --app-dir examples --workers 2 fastapi_app:app
    curl http://127.0.0.1:8000/items/7
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # In one piece, as several workers may speak at once.
    print(f"the loop is {type(asyncio.get_running_loop()).__module__}\n", end="", flush=True)
    yield
    print("shut down", flush=True)


class Item(BaseModel):
    name: str
    price: float


app = FastAPI(lifespan=lifespan)


@app.get("/items/{number}")
async def read_item(number: int) -> dict[str, int]:
    return {"item": number}


@app.post("/items")
async def create_item(item: Item) -> Item:
    return item


@app.get("/loop")
async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__


@app.get("/threads")
def in_a_thread() -> dict[str, str]:
    """FastAPI calls a plain function in a thread of a pool."""
    return {"answer": "from a thread"}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
