"""Plays the scenario through the client of `fastmcp`."""

import contextlib

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

import scenario


class Conversation:
    def __init__(self, client):
        self.client = client
        self.protocol_version = str(client.protocol_version)

    async def tools(self):
        return [tool.name for tool in await self.client.list_tools()]

    async def call(self, tool, arguments):
        # A protocol error counts as an error with its message as text.
        try:
            result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        except Exception as error:  # noqa: BLE001 (whatever the client makes of an error answer)
            return True, str(error)
        text = "\n".join(part.text for part in result.content if part.type == "text")
        return bool(result.is_error), text


@contextlib.asynccontextmanager
async def connect(arguments, role):
    if arguments.transport == "http":
        headers = {"Authorization": f"Bearer {scenario.token(role)}"}
        transport = StreamableHttpTransport(arguments.url, headers=headers)
    else:
        program, *rest = scenario.stdio_command(arguments, role)
        transport = StdioTransport(command=program, args=rest, keep_alive=False)
    async with Client(transport, mode=arguments.mode) as client:
        yield Conversation(client)


if __name__ == "__main__":
    scenario.main("fastmcp", connect, ["legacy", "auto"])
