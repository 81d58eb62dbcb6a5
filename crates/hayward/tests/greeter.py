# A server of one tool, whose description is that of the environment.
import json
import os
import sys


def answer(method):
    if method == "initialize":
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "greeter", "version": "1"}}
    if method == "tools/list":
        tool = {"name": "greet", "description": os.environ.get("ABOUT", ""), "inputSchema": {"type": "object"}}
        return {"tools": [tool]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": "hello"}]}
    return {} if method == "ping" else None


print("\x1b[1;32mready\x1b[0m to greet", file=sys.stderr)
print("hush:", os.environ.get("HUSH", "-"), file=sys.stderr)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    result = answer(asked.get("method"))
    told = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **told}))
print("bye", file=sys.stderr)
