//! A document of each kind in which every member is set: what round trips, references and fuzzers begin with.

use serde_json::{Value, json};

use super::Descriptor;

/// The document, as somebody would write it: without what the system keeps by itself.
///
/// # Panics
/// For a kind that has none here; a test looks at all of them.
pub fn sample(kind: &Descriptor) -> Value {
    match kind.name {
        "secret" => json!({"name": "ha-token", "data": {"TOKEN": "s3cr3t", "user.name": "ann"}}),
        "template" => template(),
        "proxymodel" => json!({
            "name": "pages", "description": "Short pages.", "extends": ["gate"], "controller": "gate",
            "controllerConfig": {"byteBudget": 4096},
            "stages": [{"type": "section-split"}, {"type": "paginate", "config": {"pageSize": 4000}}],
            "appliesTo": ["prompt", "toolResult"], "cacheable": false}),
        "policy" => json!({
            "name": "careful", "description": "Shells need a human.", "rules": [
                {"tools": ["bash_execute", "ssh_*"], "servers": ["host"], "targets": ["pi"], "tier": "danger",
                 "approval": "human",
                 "commands": {"allowedPrefixes": ["uptime"], "deniedSubstrings": ["rm -rf"]}},
                {"tools": ["*"], "servers": ["ha"], "deny": true}]}),
        "user" => json!({
            "email": "ann@example.org", "name": "Ann", "role": "ADMIN", "disabled": true,
            "expiresAt": "2030-01-31T00:00:00Z", "password": "correct horse"}),
        "group" => json!({
            "name": "admins", "description": "Who look after it.", "members": ["ann@example.org", "ci"]}),
        "server" => server(),
        "instance" => json!({"name": "ha-0", "server": "ha", "replica": 1, "serverGeneration": 3}),
        "project" => json!({
            "name": "home", "description": "The house.", "prompt": "Be brief.", "proxyModel": "default",
            "gated": true, "servers": ["ha", "docs"], "serverOverrides": {"docs": {"proxyModel": "pages"}},
            "llmProvider": "ollama", "llmModel": "llama3", "accept": ["NotEnforced"]}),
        "serverattachment" => json!({"server": "ha", "project": "home"}),
        "prompt" => json!({
            "name": "rules", "project": "home", "content": "Ask before you switch anything off.", "priority": 8,
            "summary": "What to ask.", "chapters": ["Lights", "Heating"], "link": "https://example.org/rules"}),
        "promptrequest" => json!({
            "name": "lamps", "project": "home", "content": "The lamps are called after rooms.", "priority": 3,
            "createdBySession": "s-1", "createdByUser": "ann@example.org"}),
        "rbac" => json!({
            "name": "operators",
            "subjects": [
                {"kind": "User", "name": "ann@example.org"}, {"kind": "Group", "name": "admins"},
                {"kind": "ServiceAccount", "name": "ci"}],
            "roleBindings": [
                {"role": "edit", "resource": "servers"}, {"role": "view", "resource": "secrets", "name": "ha-token"},
                {"role": "edit", "resource": "prompts", "name": "rules", "project": "home"},
                {"role": "run", "action": "audit-purge"}]}),
        "token" => json!({
            "name": "laptop", "role": "rw", "enabled": false, "minProtocol": "2025-11-25",
            "fence": {"profile": "confined", "roots": ["/srv"]},
            "toolFences": {"bash_execute": {"profile": "confined", "roots": ["/srv/a"]}},
            "bounds": {"sources": ["10.0.0.0/8"], "tools": ["read_*"], "requestsPerMinute": 60},
            "expiresAt": "2030-01-31T00:00:00Z"}),
        name => unreachable!("no sample of {name}"),
    }
}

/// What its spec alone is: the document without what every resource has.
pub fn spec(kind: &Descriptor) -> Value {
    let mut document = sample(kind);
    if let Some(members) = document.as_object_mut() {
        let common = [kind.identity, "project", "labels", "annotations"];
        members.retain(|name, _| !common.contains(&name.as_str()));
    }
    document
}

fn server() -> Value {
    json!({
        "name": "ha", "labels": {"team": "home"}, "annotations": {"note": "asked for by Ann"},
        "source": {"template": "home-assistant", "version": "1.2.0", "snapshot": {"replicas": 1}},
        "description": "Home Assistant.", "transport": "STREAMABLE_HTTP", "dockerImage": "example/ha:1",
        "command": ["serve"], "args": ["--verbose"], "containerPort": 8080, "replicas": 2,
        "env": [
            {"name": "URL", "value": "http://ha.local"},
            {"name": "TOKEN", "valueFrom": {"secretRef": {"name": "ha-token", "key": "TOKEN"}}}],
        "healthCheck": {
            "tool": "ping", "arguments": {"deep": true}, "intervalSeconds": 30, "timeoutSeconds": 5,
            "failureThreshold": 2},
        "resources": {"memoryMib": 256, "cpus": 0.25}, "placement": "docker", "auditLevel": "hash-only"})
}

fn template() -> Value {
    json!({
        "name": "home-assistant", "version": "1.2.0", "description": "Home Assistant.", "transport": "STDIO",
        "packageName": "ha-mcp", "runtime": "python", "args": ["--quiet"], "replicas": 1,
        "env": [
            {"name": "URL", "description": "Where it is.", "defaultValue": "http://ha.local"},
            {"name": "TOKEN", "description": "A long-lived token.", "required": true}],
        "healthCheck": {"tool": "ping"}, "placement": "process"})
}
