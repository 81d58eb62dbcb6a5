// Plays the interoperability scenario through the command line of the MCP Inspector, one process
// per request, as a person at a terminal would.
//
//   node inspector.mjs --scenario F --dir D --mode legacy|auto|modern http URL
//   node inspector.mjs --scenario F --dir D --mode legacy|auto|modern stdio COMMAND ARGUMENTS…
//
// Tokens come from the environment; one line of JSON goes to stdout.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const PACKAGE = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";

const split = process.argv.findIndex((word) => word === "http" || word === "stdio");
const { values } = parseArgs({
  args: process.argv.slice(2, split),
  options: { scenario: { type: "string" }, dir: { type: "string" }, mode: { type: "string" } },
});
const [transport, ...target] = process.argv.slice(split);
const scenario = JSON.parse(
  readFileSync(values.scenario, "utf8").replaceAll("$DIR", values.dir),
);
const state = mkdtempSync(join(tmpdir(), "inspector-"));
const inspector = join(process.env.HAYWARD_TEST_NODE_MODULES, PACKAGE);

/** How the Inspector reaches the server as `role`: a read-only session file. */
function serverOf(role) {
  const token = role === "rw" ? process.env.HAYWARD_RW_TOKEN : process.env.HAYWARD_RO_TOKEN;
  const server =
    transport === "http"
      ? { type: "streamable-http", url: target[0], headers: { Authorization: `Bearer ${token}` } }
      : { command: target[0], args: [...target.slice(1), "--role", role] };
  const file = join(state, `${role}.json`);
  writeFileSync(file, JSON.stringify({ mcpServers: { hayward: server } }));
  return ["--config", file, "--server", "hayward"];
}

/** Runs one request; whatever the Inspector refuses or reports as an error is one. */
function ask(role, request) {
  const common = ["--cli", ...serverOf(role), "--protocol-era", values.mode, "--format", "json", "-q"];
  const run = spawnSync(process.execPath, [inspector, ...common, ...request], {
    encoding: "utf8",
    env: { ...process.env, HOME: state },
  });
  return { failed: run.status !== 0, stdout: run.stdout, stderr: run.stderr };
}

const report = {
  client: `inspector ${values.mode}`,
  protocol_version: "",
  checks: 0,
  failures: [],
};

for (const role of ["rw", "ro"]) {
  report.checks += 1;
  const listed = ask(role, ["--method", "tools/list"]);
  const wanted = JSON.stringify(scenario.tools[role]);
  const shown = listed.failed
    ? listed.stderr
    : JSON.stringify(payload(listed.stdout).tools.map((tool) => tool.name));
  if (shown !== wanted) report.failures.push(`${role} was shown ${shown} instead of ${wanted}`);
  for (const step of scenario.steps.filter((step) => step.as === role)) check(step);
}

function check(step) {
  report.checks += 1;
  const request = ["--method", "tools/call", "--tool-name", step.tool];
  const answer = ask(step.as, [...request, "--tool-args-json", JSON.stringify(step.arguments)]);
  const content = answer.stdout ? (payload(answer.stdout).content ?? []) : [];
  const text = [...content.map((part) => part.text), answer.stderr].join("\n");
  if (answer.failed !== step.error) {
    report.failures.push(`${step.name}: isError is ${answer.failed}: ${text}`);
  }
  for (const part of step.says.filter((part) => !text.includes(part))) {
    report.failures.push(`${step.name}: \`${part}\` is not in \`${text}\``);
  }
}

/** The result inside of what the Inspector prints as JSON. */
function payload(stdout) {
  const value = JSON.parse(stdout);
  return value.result ?? value;
}

rmSync(state, { recursive: true });
console.log(JSON.stringify(report));
process.exit(report.failures.length === 0 ? 0 : 1);
