//! What bodies and answers look like that are no documents of a kind.

use schemars::{Schema, SchemaGenerator, json_schema};

macro_rules! shapes {
    ($($name:ident: $schema:tt;)*) => {
        $(pub(crate) fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!($schema)
        })*
    };
}

shapes! {
    anything: {"type": "object"};
    anything_list: {"type": "array", "items": {"type": "object"}};
    revert: {"type": "object", "required": ["to"], "additionalProperties": false,
        "properties": {"to": {"type": "integer", "minimum": 0, "description": "The version that it is to be at."}}};
    attach: {"type": "object", "required": ["server"], "additionalProperties": false,
        "properties": {"server": {"type": "string", "description": "The server's name or id."}}};
    history: {"type": "array", "items": {"type": "object", "required": ["version", "change", "actor", "at"], "properties": {
        "version": {"type": "integer"}, "change": {"enum": ["created", "updated", "deleted"]},
        "actor": {"type": "string"}, "at": {"type": "string"},
        "before": {"type": ["object", "null"]}, "after": {"type": ["object", "null"]}}}};
    proxied: {"type": "object", "required": ["method"], "additionalProperties": false, "properties": {
        "serverId": {"type": "string", "description": "The server's name or id; else `projectId` says where it goes."},
        "projectId": {"type": "string", "description": "The project's name or id."},
        "id": {"type": ["string", "integer"], "description": "Stands in the answer; 1 if nothing is said."},
        "method": {"type": "string", "description": "E.g. `tools/call`."},
        "params": {"type": "object"}}};
    answered: {"type": "object", "required": ["jsonrpc", "id"], "properties": {
        "jsonrpc": {"const": "2.0"}, "id": {"type": ["string", "integer"]},
        "result": {"type": "object"}, "error": {"type": "object"}}};
    mcp_config: {"type": "object", "required": ["mcpServers"], "properties": {"mcpServers": {"type": "object"}}};
    instructions: {"type": "object", "required": ["prompt", "servers"], "properties": {
        "prompt": {"type": "string"}, "servers": {"type": "array", "items": {"type": "object"}}}};
    login: {"type": "object", "required": ["email", "password"], "additionalProperties": false,
        "properties": {"email": {"type": "string"}, "password": {"type": "string"}}};
    bootstrap: {"type": "object", "required": ["email", "password"], "additionalProperties": false,
        "properties": {"email": {"type": "string"}, "password": {"type": "string", "minLength": 8}, "name": {"type": "string"}}};
    password: {"type": "object", "required": ["old", "new"], "additionalProperties": false,
        "properties": {"old": {"type": "string"}, "new": {"type": "string", "minLength": 8}}};
    join: {"type": "object", "required": ["invite", "password"], "additionalProperties": false,
        "properties": {"invite": {"type": "string"}, "password": {"type": "string", "minLength": 8}}};
    impersonate: {"type": "object", "required": ["email"], "additionalProperties": false,
        "properties": {"email": {"type": "string"}}};
    invite: {"type": "object", "required": ["email"], "additionalProperties": false, "properties": {
        "email": {"type": "string"}, "name": {"type": "string"}, "groups": {"type": "array", "items": {"type": "string"}},
        "expiresIn": {"type": "integer", "minimum": 1, "maximum": 2_592_000, "description": "Seconds until it is of no use."}}};
    invited: {"type": "object", "required": ["invite", "email", "expiresAt"],
        "properties": {"invite": {"type": "string"}, "email": {"type": "string"}, "expiresAt": {"type": "string"}}};
    invites: {"type": "array", "items": {"type": "object", "required": ["id", "email", "madeBy", "createdAt", "expiresAt"],
        "properties": {"id": {"type": "string"}, "email": {"type": "string"}, "name": {"type": ["string", "null"]},
            "groups": {"type": "array", "items": {"type": "string"}}, "madeBy": {"type": "string"},
            "createdAt": {"type": "string"}, "expiresAt": {"type": "string"}, "redeemedAt": {"type": ["string", "null"]}}}};
    signed_in: {"type": "object", "required": ["token", "expiresAt", "user"], "properties": {
        "token": {"type": "string"}, "expiresAt": {"type": "string"},
        "user": {"type": "object", "required": ["id", "email", "role"], "properties": {
            "id": {"type": "string"}, "email": {"type": "string"}, "name": {"type": ["string", "null"]},
            "role": {"type": "string"}}}}};
    auth_status: {"type": "object", "required": ["hasUsers"], "properties": {"hasUsers": {"type": "boolean"}}};
    me: {"type": "object", "required": ["kind", "name"], "properties": {
        "kind": {"type": "string"}, "name": {"type": "string"}, "impersonator": {"type": ["string", "null"]},
        "user": {"type": ["object", "null"]}}};
    applied: {"type": "object", "required": ["version", "results"], "properties": {
        "version": {"type": ["integer", "null"]},
        "results": {"type": "array", "items": {"type": "object", "required": ["kind", "name", "action"], "properties": {
            "kind": {"type": "string"}, "name": {"type": "string"}, "project": {"type": ["string", "null"]},
            "action": {"enum": ["created", "updated", "unchanged", "deleted", "kept"]},
            "before": {"type": ["object", "null"]}, "after": {"type": ["object", "null"]},
            "token": {"type": "string"}}}}}};
    claims: {"type": ["object", "array"], "description": "One event, several, or `{\"events\": […]}`.",
        "properties": {"events": {"type": "array", "items": {"type": "object"}}}, "items": {"type": "object"}};
    accepted: {"type": "object", "required": ["accepted"], "properties": {"accepted": {"type": "integer"}}};
    metrics: {"type": "object", "required": ["requests", "refused", "errors", "panics", "watches"], "properties": {
        "requests": {"type": "integer"}, "refused": {"type": "integer"}, "errors": {"type": "integer"},
        "panics": {"type": "integer"}, "watches": {"type": "integer"}, "lastRequestAt": {"type": ["string", "null"]}}};
    overview: {"type": "object", "required": ["status", "version"], "properties": {
        "status": {"enum": ["ok", "degraded"]}, "version": {"type": "string"}}};
    logs: {"type": "object", "required": ["lines"], "description": "Followed, each line comes as a line of JSON.",
        "properties": {"lines": {"type": "array", "items": {"type": "object", "required": ["number", "text"], "properties": {
            "number": {"type": "integer"}, "at": {"type": ["string", "null"]}, "text": {"type": "string"}}}}}};
    inspected: {"type": "object", "required": ["id", "name", "server", "state", "health"], "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "server": {"type": "string"}, "replica": {"type": "integer"},
        "node": {"type": ["string", "null"]}, "placement": {"type": ["string", "null"]},
        "serverGeneration": {"type": ["integer", "null"]}, "startedAt": {"type": "string"}, "endedAt": {"type": "string"},
        "state": {"enum": ["STARTING", "RUNNING", "STOPPING", "STOPPED", "ERROR"]}, "trouble": {"type": ["string", "null"]},
        "protocol": {"type": "string"}, "callsInFlight": {"type": "integer"}, "health": {"type": "object"}}};
    instance_health: {"type": "object", "required": ["id", "name", "status"], "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "since": {"type": "string"}, "status": {"type": "object"},
        "uptimeSeconds": {"type": "integer"}, "health": {"type": "object", "properties": {
            "verdict": {"enum": ["unknown", "healthy", "unhealthy"]}, "failures": {"type": "integer"},
            "latencyMs": {"type": ["integer", "null"]}, "lastCheckAt": {"type": ["string", "null"]},
            "why": {"type": ["string", "null"]}}}}};
    tools: {"type": "array", "items": {"type": "object", "required": ["name", "state", "changes"], "properties": {
        "name": {"type": "string"}, "state": {"enum": ["shown", "waits", "kept back"]}, "why": {"type": ["string", "null"]},
        "approved": {"type": ["object", "null"]}, "pending": {"type": ["object", "null"]},
        "changes": {"type": "array", "items": {"type": "object", "required": ["path"], "properties": {
            "path": {"type": "string"}, "before": {"type": ["string", "null"]}, "after": {"type": ["string", "null"]}}}}}}};
    approve: {"type": "object", "required": ["digest"], "additionalProperties": false, "properties": {
        "digest": {"type": "string", "description": "The digest of what waits, as it was seen."}}};
    approved: {"type": "object", "required": ["server", "name", "digest"], "properties": {
        "server": {"type": "string"}, "name": {"type": "string"}, "digest": {"type": "string"}}};
    authorization: {"type": "object", "required": ["redirectUri"], "additionalProperties": false, "properties": {
        "redirectUri": {"type": "string", "description": "Where the browser comes back to: an address of the machine of whoever asks."}}};
    authorization_question: {"type": "object", "required": ["url", "state", "issuer", "scopes"], "properties": {
        "url": {"type": "string"}, "state": {"type": "string"}, "issuer": {"type": "string"},
        "scopes": {"type": "array", "items": {"type": "string"}}}};
    authorization_answer: {"type": "object", "required": ["query"], "additionalProperties": false, "properties": {
        "query": {"type": "string", "description": "The query of the address that the browser came back to."}}};
    authorized: {"type": "object", "required": ["server", "secret", "issuer", "scopes", "isRenewable"], "properties": {
        "server": {"type": "string"}, "secret": {"type": "string"}, "issuer": {"type": "string"},
        "scopes": {"type": "array", "items": {"type": "string"}}, "isRenewable": {"type": "boolean"},
        "expiresAt": {"type": ["string", "null"]}}};
    alive: {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}};
}
