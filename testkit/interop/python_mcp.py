"""Plays the scenario through the official Python SDK (`mcp`)."""

import contextlib

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

import scenario


class Conversation:
    def __init__(self, client):
        self.client = client
        self.protocol_version = client.protocol_version

    async def tools(self):
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, tool, arguments):
        # A protocol error counts as an error with its message as text.
        try:
            result = await self.client.call_tool(tool, arguments)
        except Exception as error:  # noqa: BLE001 (whatever the SDK makes of an error answer)
            return True, str(error)
        text = "\n".join(part.text for part in result.content if part.type == "text")
        return bool(result.is_error), text


@contextlib.asynccontextmanager
async def connect(arguments, role):
    async with contextlib.AsyncExitStack() as stack:
        if arguments.transport == "http":
            headers = {"Authorization": f"Bearer {scenario.token(role)}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers))
            server = streamable_http_client(arguments.url, http_client=http)
        else:
            program, *rest = scenario.stdio_command(arguments, role)
            server = StdioServerParameters(command=program, args=rest)
        client = await stack.enter_async_context(Client(server, mode=arguments.mode))
        yield Conversation(client)


if __name__ == "__main__":
    scenario.main("mcp", connect, ["legacy", "auto"])
