"""Loads a page and all that it names by httpx over HTTP/2: client.py URL CERTIFICATE."""

import asyncio
import re
import ssl
import sys

import httpx


async def main(url: str, certificate: str) -> None:
    context = ssl.create_default_context(cafile=certificate)
    async with httpx.AsyncClient(http2=True, http1=False, verify=context, timeout=30) as client:

        async def get(path: str) -> str:
            response = await client.get(url + path)
            if response.status_code != 200 or response.http_version != "HTTP/2":
                sys.exit(f"{path}: {response.status_code} by {response.http_version}")
            return response.text

        names = re.findall(r"(?:src|href)=(/[^ >]+)", await get("/"))
        await asyncio.gather(*(get(name) for name in names))
        print("loaded", len(names) + 1)


asyncio.run(main(*sys.argv[1:]))
