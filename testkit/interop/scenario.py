"""The interoperability scenario, as the Python clients play it.

A client module gives `connect(arguments, role)`, an async context manager of a conversation with
`protocol_version`, `tools()` and `call(tool, arguments)`; this module parses the command line,
plays the steps in order, and prints one line of JSON. Tokens come from the environment.
"""

import argparse
import asyncio
import json
import os
import sys


def parse_arguments(modes):
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--dir", required=True, help="an empty folder that the server's tools may use")
    parser.add_argument("--mode", required=True, choices=modes)
    transports = parser.add_subparsers(dest="transport", required=True)
    transports.add_parser("http").add_argument("url")
    transports.add_parser("stdio").add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def token(role):
    """The bearer token of a role, for HTTP."""
    return os.environ["HAYWARD_RW_TOKEN" if role == "rw" else "HAYWARD_RO_TOKEN"]


def stdio_command(arguments, role):
    """The command of a role, for stdio."""
    return arguments.command + ["--role", role]


class Report:
    def __init__(self, client):
        self.client = client
        self.protocol_version = ""
        self.checks = 0
        self.failures = []

    def check_tools(self, role, wanted, shown):
        self.checks += 1
        if shown != wanted:
            self.failures.append(f"{role} was shown {shown} instead of {wanted}")

    def check_step(self, step, is_error, text):
        self.checks += 1
        if is_error != step["error"]:
            self.failures.append(f"{step['name']}: isError is {is_error}: {text}")
        missing = [part for part in step["says"] if part not in text]
        self.failures += [f"{step['name']}: `{part}` is not in `{text}`" for part in missing]


async def play(name, connect, arguments):
    with open(arguments.scenario, encoding="utf-8") as file:
        scenario = json.loads(file.read().replace("$DIR", arguments.dir))
    report = Report(f"{name} {arguments.mode}")
    # One conversation at a time: over stdio, a data folder has one owner.
    for role in ("rw", "ro"):
        async with connect(arguments, role) as conversation:
            report.protocol_version = conversation.protocol_version
            report.check_tools(role, scenario["tools"][role], await conversation.tools())
            for step in scenario["steps"]:
                if step["as"] == role:
                    answer = await conversation.call(step["tool"], step["arguments"])
                    report.check_step(step, *answer)
    return report


def main(name, connect, modes):
    report = asyncio.run(play(name, connect, parse_arguments(modes)))
    print(json.dumps(vars(report)))
    sys.exit(1 if report.failures else 0)
