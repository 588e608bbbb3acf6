# SPDX-License-Identifier: Apache-2.0
"""A WebSocket server (python3-websockets) in front of a broker that speaks plain MQTT, as a process:

    websocket_bridge.py ADDRESS PORT BROKER_PORT

Debian's mosquitto is built without WebSocket. Each handshake is a line on stdout, in JSON.
"""
import asyncio
import http
import json
import sys

import websockets

PATH = "/mqtt"


async def _up(web, writer):
    async for message in web:
        writer.write(message)
        await writer.drain()
    writer.close()


async def _down(reader, web):
    while piece := await reader.read(65536):
        await web.send(piece)
    await web.close()


def _refuse_other_paths(path, _headers):
    return None if path.split("?")[0] == PATH else (http.HTTPStatus.NOT_FOUND, [], b"")


async def _main(address, port, broker_port):
    async def serve(web):
        print(json.dumps({"path": web.path, "subprotocol": web.subprotocol, **dict(web.request_headers.raw_items())}),
              flush=True)
        reader, writer = await asyncio.open_connection(address, broker_port)
        ways = [asyncio.ensure_future(way) for way in (_up(web, writer), _down(reader, web))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        await web.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async with websockets.serve(serve, address, port, subprotocols=["mqtt", "mqttv3.1"], compression=None,
                                max_size=None, ping_interval=None, process_request=_refuse_other_paths):
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
