"""A chat over websockets: whatever one says, all others hear.

Try it:

    evenloop run examples/websocket_chat.py serve 8765
    evenloop run examples/websocket_chat.py join 8765 Ann      # one in each terminal
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

room: dict[ServerConnection, str] = {}


async def guest(socket: ServerConnection) -> None:
    name = str(await socket.recv())
    room[socket] = name
    broadcast(room, f"* {name} is here, {len(room)} in the room")
    try:
        async for message in socket:
            broadcast([other for other in room if other is not socket], f"{name}: {message!s}")
    finally:
        del room[socket]
        broadcast(room, f"* {name} has left")


async def run_server(port: int) -> None:
    async with serve(guest, "127.0.0.1", port) as server:
        print("listening on port", next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


async def join(port: int, name: str) -> None:
    async with connect(f"ws://127.0.0.1:{port}") as socket:
        await socket.send(name)

        async def hear() -> None:
            try:
                async for message in socket:
                    print(message, flush=True)
            except ConnectionClosed:
                print("* the server is gone", flush=True)

        hearing = asyncio.create_task(hear())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await socket.send(line.rstrip("\n"))
        await socket.close()
        await hearing


if __name__ == "__main__":
    command, port, *words = sys.argv[1:]
    asyncio.run(run_server(int(port)) if command == "serve" else join(int(port), " ".join(words)))
