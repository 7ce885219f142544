"""A web server on aiohttp: text, JSON, a stream and a form.

Try it:

    evenloop run examples/aiohttp_server.py 8080
    curl http://127.0.0.1:8080/hello/world

The same under gunicorn, in two processes (start it in this folder):

    evenloop run -m gunicorn -k aiohttp.GunicornWebWorker -w 2 "aiohttp_server:app()"
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/")
async def index(request: web.Request) -> web.Response:
    return web.Response(text="Hello!\n")


@routes.get("/hello/{name}")
async def hello(request: web.Request) -> web.Response:
    return web.json_response({"hello": request.match_info["name"]})


@routes.get("/count")
async def count(request: web.Request) -> web.Response:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0.01)
            yield f"{number}\n".encode()

    return web.Response(body=numbers())


@routes.get("/loop")
async def loop(request: web.Request) -> web.Response:
    return web.Response(text=type(asyncio.get_running_loop()).__module__)


@routes.post("/size")
async def size(request: web.Request) -> web.Response:
    return web.json_response({"bytes": len(await request.read())})


def app() -> web.Application:
    application = web.Application(client_max_size=64 << 20)
    application.add_routes(routes)
    return application


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    web.run_app(app(), host="127.0.0.1", port=port, access_log=None)
