# A client of mymcp's own time: the Python SDK that mymcp 2.1.1 is made with. Prints what it saw, in words that don't depend on
# who answers.
import asyncio
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with streamablehttp_client(url, headers=headers) as (reads, writes, _):
        async with ClientSession(reads, writes) as session:
            await session.initialize()
            tools = await session.list_tools()
            print("tools", " ".join(sorted(tool.name for tool in tools.tools)))
            for name, arguments in [
                ("bash_execute", {"command": "echo $((6 * 7)); exit 3"}),
                ("read_file", {"file_path": "/etc/hostname"}),
                ("glob", {"pattern": "hostnam?", "path": "/etc"}),
            ]:
                result = await session.call_tool(name, arguments)
                print(name, result.content[0].text.replace("\n", " "))


asyncio.run(main(*sys.argv[1:]))
