//! A real mymcp 2.1.1, installed by its own `install-service`, and taken over: its clients notice nothing.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::house::{BINARY, HOST, House, SHARED, word};
use super::super::rpc::{PORT, bearer};
use super::super::sheet::Sheet;
use crate::toolbox::docker::Container;

/// The environment of mymcp, and of its clients.
const ENVIRONMENT: &str = "/opt/environment";
/// A client of its time.
const CLIENT: &str = include_str!("old_client.py");
/// All that mymcp has, with content.
const OLD: &str =
    "find /etc/mymcp -printf '%p %m %u %s\\n' | sort; sha256sum /etc/mymcp/.env /etc/mymcp/tokens.json";
/// What Hayward would have.
const NEW: &str = "ls -d /etc/hayward /var/lib/hayward /var/log/hayward 2>/dev/null | wc -l";

/// How the service that takes over is installed, once for each profile.
const PROFILES: [(&str, &str); 2] = [("host", ""), ("gateway", "--profile gateway --log-dir /var/log/mymcp")];

/// The tokens of the old service.
struct Old {
    admin: String,
    metrics: String,
    rw: String,
    ro: String,
}

pub(super) fn play(house: &House, sheet: &mut Sheet) -> Result<()> {
    let old = install(house).context("mymcp does not run")?;
    let before = seen(house, &old)?;
    sheet.says("mymcp serves its client", &before, "42");
    for (profile, options) in PROFILES {
        let kept = house.host.good(OLD)?;
        take_over(house, sheet, &old, profile)?;
        // What it says is next.
        house.host.good("systemctl disable --now mymcp")?;
        house.install(options)?;
        house.start()?;
        let state = house.host.run("systemctl is-active mymcp; systemctl is-enabled mymcp")?;
        sheet.is(&format!("{profile}: mymcp"), state.stdout.replace('\n', " "), "inactive disabled");
        sheet.is(
            &format!("{profile}: its client, with its token, under its address"),
            seen(house, &old)?,
            &before,
        );
        tokens(house, sheet, &old, profile)?;
        log(house, sheet, profile)?;
        again(house, sheet, profile, options)?;
        sheet.is(&format!("{profile}: and served again"), seen(house, &old)?, &before);

        house.purge()?;
        let is_kept = house.host.good(OLD)? == kept;
        sheet.judge(&format!("{profile}: mymcp's own files as they were"), is_kept, "true", is_kept);
        house.host.good("systemctl enable --now mymcp")?;
        house.wait(&format!("curl --silent --fail http://127.0.0.1:{PORT}/health"))?;
        sheet.is(&format!("{profile}: gone back to"), seen(house, &old)?, &before);
    }
    house.host.good(&format!(
        "mymcp uninstall-service --purge && rm -r {ENVIRONMENT} /usr/local/bin/mymcp && systemctl daemon-reload"
    ))?;
    Ok(())
}

/// Looks, and takes over; neither shows a token.
fn take_over(house: &House, sheet: &mut Sheet, old: &Old, profile: &str) -> Result<()> {
    let dry = house.host.run(&format!("{BINARY} migrate mymcp --dry-run"))?;
    sheet.says(&format!("{profile}: a dry run"), &dry.stderr, "would take over");
    sheet.is(&format!("{profile}: a dry run: directories made"), house.host.good(NEW)?, 0);
    let done = house.host.run(&format!("{BINARY} migrate mymcp"))?;
    sheet.judge(&format!("{profile}: taken over"), done.code.unwrap_or(-1), "0", done.is_good());
    sheet.says(&format!("{profile}: what it says is next"), &done.stderr, "systemctl disable --now mymcp");
    let shown = [&old.admin, &old.metrics, &old.rw, &old.ro];
    let shown = shown.into_iter().filter(|token| format!("{dry:?}{done:?}").contains(*token)).count();
    sheet.is(&format!("{profile}: tokens shown meanwhile"), shown, 0);
    Ok(())
}

/// Takes over once more, and finds nothing new; what another user's service has is taken for that time, as is told.
fn again(house: &House, sheet: &mut Sheet, profile: &str, options: &str) -> Result<()> {
    house.host.good("systemctl stop hayward")?;
    if profile == "gateway" {
        let refused = house.host.run(&format!("{BINARY} migrate mymcp"))?;
        sheet.says("gateway: a second time", &refused.stderr, "chown -R root: /var/lib/hayward");
        house.host.good("chown -R root: /var/lib/hayward")?;
    }
    let again = house.host.run(&format!("{BINARY} migrate mymcp"))?;
    sheet.says(&format!("{profile}: a second time"), &again.stderr, "tokens had been taken over before");
    house.install(options)?;
    house.start()
}

fn environment(machine: &Container) -> Result<()> {
    machine
        .good(&format!(
            "python3 -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/pip install --quiet --disable-pip-version-check --no-index \
             --find-links {SHARED}/wheels 'algony-mymcp==2.1.1' 'mcp<2'"
        ))
        .map(drop)
}

fn install(house: &House) -> Result<Old> {
    environment(&house.host)?;
    environment(&house.client)?;
    house.client.good(&format!("cat >{SHARED}/old_client.py <<'END'\n{CLIENT}END\n"))?;
    house.host.good(&format!("ln -sf {ENVIRONMENT}/bin/mymcp /usr/local/bin/mymcp"))?;
    let version = house.host.good("mymcp version")?;
    anyhow::ensure!(version == "mymcp 2.1.1", "it is {version}");
    house.host.good("mymcp install-service --yes --skip-ripgrep --enable-metrics --enable-audit")?;
    let variable = |name: &str| house.host.good(&format!("sed -n 's/^MYMCP_{name}=//p' /etc/mymcp/.env"));
    let add = |name: &str, role: &str| {
        house.host.good(&format!("mymcp token add --name {} --role {role}", word(name)))
    };
    let old = Old {
        admin: variable("ADMIN_TOKEN")?,
        metrics: variable("METRICS_TOKEN")?,
        rw: add("My laptop", "rw")?,
        ro: add("ci", "ro")?,
    };
    house.host.good("systemctl start mymcp")?;
    house.wait(&format!("curl --silent --fail http://127.0.0.1:{PORT}/health"))?;
    Ok(old)
}

/// What the old client sees.
fn seen(house: &House, old: &Old) -> Result<String> {
    house.client.good(&format!(
        "{ENVIRONMENT}/bin/python {SHARED}/old_client.py http://{HOST}:{PORT}/mcp {} 2>&1",
        old.rw
    ))
}

fn tokens(house: &House, sheet: &mut Sheet, old: &Old, profile: &str) -> Result<()> {
    let what = |text: &str| format!("{profile}: {text}");
    let at = |path: &str, token: &str| house.status(&format!("{} http://{HOST}:{PORT}{path}", bearer(token)));
    sheet.is(&what("its admin token at /admin/tokens"), at("/admin/tokens", &old.admin)?, 200);
    sheet.is(&what("its metrics token at /metrics"), at("/metrics", &old.metrics)?, 200);
    sheet.is(&what("its ro token at /admin/tokens"), at("/admin/tokens", &old.ro)?, 403);
    let call = |token: &str, tool: &str, arguments: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments } });
        let words = format!(
            "{} --header 'Accept: application/json, text/event-stream' --json {} http://{HOST}:{PORT}/mcp",
            bearer(token),
            word(&body.to_string())
        );
        house.curl(&words).map(|said| said.stdout)
    };
    sheet.says(
        &what("its ro token, a command"),
        &call(&old.ro, "bash_execute", json!({ "command": "id" }))?,
        "PermissionDenied",
    );
    sheet.says(
        &what("its ro token, a file"),
        &call(&old.ro, "read_file", json!({ "file_path": "/etc/debian_version" }))?,
        "12.",
    );
    // What its user may not read doesn't come so far.
    let wanted = if profile == "gateway" { "PermissionError" } else { "ProtectedPath" };
    let refused = call(&old.rw, "read_file", json!({ "file_path": "/etc/mymcp/tokens.json" }))?;
    sheet.says(&what("mymcp's tokens by a tool"), &refused, wanted);
    Ok(())
}

/// The log that followers of mymcp's read goes on in the same file.
fn log(house: &House, sheet: &mut Sheet, profile: &str) -> Result<()> {
    house
        .wait("test $(grep -c bash_execute /var/log/mymcp/audit.log) -gt 2")
        .context("audit.log does not go on")?;
    let lines = house.host.good("cat /var/log/mymcp/audit.log")?;
    let odd = lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    sheet.is(&format!("{profile}: audit.log goes on: lines that are no JSON"), odd, 0);
    let names =
        lines.lines().filter(|line| line.contains("\"bash_execute\"") && line.contains("laptop")).count();
    sheet.judge(&format!("{profile}: audit.log goes on: its client's commands"), names, "≥ 2", names >= 2);
    Ok(())
}
