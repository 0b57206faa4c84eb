"""Passes connections on with a delay each way, as a long path would: delay.py PORT TARGET_PORT DELAY_MS"""

import asyncio
import sys

port, target, delay_ms = (int(text) for text in sys.argv[1:])
# Bytes under way in one direction: more than any window that is measured.
UNDER_WAY = 256 << 20
PIECE = 256 << 10


async def carry(reader, writer):
    loop = asyncio.get_running_loop()
    pieces = asyncio.Queue(UNDER_WAY // PIECE)

    async def deliver():
        while (piece := await pieces.get()) is not None:
            due, data = piece
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    delivering = asyncio.create_task(deliver())
    while data := await reader.read(PIECE):
        await pieces.put((loop.time() + delay_ms / 1000, data))
    await pieces.put(None)
    await delivering


async def connected(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", target, limit=PIECE)
    ways = [carry(reader, there[1]), carry(there[0], writer)]
    await asyncio.gather(*ways, return_exceptions=True)
    for end in (writer, there[1]):
        end.close()


async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=PIECE)
    await server.serve_forever()


asyncio.run(main())
