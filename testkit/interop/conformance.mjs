// Runs the official conformance suite against a server that asks for a token, or against a client.
//
//   node conformance.mjs server 2025-11-25|2026-07-28|released URL
//   node conformance.mjs client 2025-11-25|2026-07-28 COMMAND
//
// A revision stands for its frozen requirements, what isn't scored included; `released` is the last release of
// the suite, with what it checks by default. No failure is expected: the baseline is empty.
// The suite sends no credentials, so a forwarder on loopback adds the token (HAYWARD_RW_TOKEN) and nothing else.
// One line of JSON goes to stdout; the exit code is the suite's.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [leg, suite, subject] = process.argv.slice(2);
const target = leg === "server" ? new URL(subject) : undefined;
const modules = process.env.HAYWARD_TEST_NODE_MODULES;
const home = suite === "released" ? "conformance-released" : "@modelcontextprotocol/conformance";

/** Passes everything on as it came, `Host` and `Origin` included, and adds the token. */
const forwarder = http.createServer((request, response) => {
  const headers = { authorization: `Bearer ${process.env.HAYWARD_RW_TOKEN}`, ...request.headers };
  // The server checks the port of `Host` too: the forwarder's becomes the server's.
  headers.host = headers.host?.replace(`:${forwarder.address().port}`, `:${target.port}`);
  headers.origin &&= headers.origin.replace(`:${forwarder.address().port}`, `:${target.port}`);
  const onward = http.request(
    { host: target.hostname, port: target.port, path: request.url, method: request.method, headers },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  request.pipe(onward);
});
if (target) await new Promise((resolve) => forwarder.listen(0, "127.0.0.1", resolve));
const about = target
  ? ["--url", `http://127.0.0.1:${forwarder.address().port}${target.pathname}`]
  : ["--command", subject];

const folder = mkdtempSync(join(tmpdir(), "conformance-"));
const baseline = join(folder, "expected-failures.yml");
writeFileSync(baseline, "server: []\nclient: []\n");
const words = [leg, ...about, "--expected-failures", baseline];
if (suite !== "released") words.push("--requirements", suite, "-o", folder);
const child = spawn(process.execPath, [join(modules, home, "dist/index.js"), ...words], { cwd: folder });
let said = "";
child.stdout.on("data", (bytes) => (said += bytes));
child.stderr.on("data", (bytes) => (said += bytes));
const code = await new Promise((resolve) => child.on("close", resolve));
rmSync(folder, { recursive: true });
forwarder.close();
forwarder.closeAllConnections();

/** The scenarios that a revision scores, as its requirements list them. */
function scored() {
  if (suite === "released") return [];
  const text = readFileSync(join(modules, home, `requirements/${suite}.yaml`), "utf8");
  const list = new RegExp(`^${leg}:\\n((?:\\s*(?:#.*|- .*)?\\n)*)`, "m").exec(text)[1];
  return [...list.matchAll(/^\s*- (\S+)/gm)].map((match) => match[1]);
}

const plain = said.replace(/\u001b\[\d+m/g, "");
const scenarios = [...plain.matchAll(/^[✓✗] (\S+): (\d+) passed, (\d+) failed/gm)].map((match) => ({
  name: match[1],
  passed: Number(match[2]),
  failed: Number(match[3]),
}));
console.log(JSON.stringify({ suite, code, scored: scored(), scenarios, said: code === 0 ? "" : plain.slice(-4000) }));
process.exit(code);
