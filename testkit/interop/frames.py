"""Prints what Python reads of our frames, one line each, in the form that the test compares.

    python frames.py lines|events FILE

Events are read by `httpx2`, which the official SDK reads them with.
"""

import json
import struct
import sys

import httpx2


class Numeral(str):
    """A number, to the letter."""


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def read(message):
    return json.loads(message, parse_int=Numeral, parse_float=Numeral, parse_constant=refuse)


def data_of(stream):
    headers = {"content-type": "text/event-stream"}
    request = httpx2.Request("POST", "http://localhost/mcp")
    response = httpx2.Response(200, headers=headers, content=stream, request=request)
    for event in httpx2.EventSource(response, max_event_size=None):
        assert event.event == "message", event
        yield event.data


def canonical(value):
    """As `Tree::canonical` in `testkit/fuzzing` writes it."""
    if isinstance(value, Numeral):
        return f"{value}={struct.pack('>d', float(value)).hex()}"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, dict):
        members = (f"{quoted(key)}:{canonical(member)}" for key, member in value.items())
        return f"{{{','.join(sorted(members))}}}"
    return json.dumps(value)


def quoted(words):
    units = struct.unpack(f">{len(words.encode('utf-16-be')) // 2}H", words.encode("utf-16-be"))
    is_plain = lambda unit: 0x20 <= unit < 0x7F and unit not in b'"\\'  # noqa: E731
    return '"' + "".join(chr(unit) if is_plain(unit) else f"\\u{unit:04x}" for unit in units) + '"'


if __name__ == "__main__":
    framing, path = sys.argv[1:]
    with open(path, "rb") as file:
        frames = file.read()
    messages = frames.split(b"\n")[:-1] if framing == "lines" else data_of(frames)
    for message in messages:
        print(canonical(read(message)))
