//! Installed and started: what systemd makes of the unit, and who may read what.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::house::{BINARY, House, SHARED, word};
use super::super::rpc::url;
use super::super::service::Tokens;
use super::super::sheet::Sheet;

/// What is expected of a profile.
pub(super) struct Expect {
    name: &'static str,
    user: &'static str,
    /// The most that `systemd-analyze security` may find.
    exposure_max: f64,
}

pub(super) const HOST: Expect = Expect { name: "host", user: "root", exposure_max: 10.0 };
pub(super) const GATEWAY: Expect = Expect { name: "gateway", user: "hayward", exposure_max: 2.0 };

/// Paths, and the mode and owner that each has to have; `USER` is the service's.
const MODES: [(&str, &str); 9] = [
    ("/etc/hayward", "755 root"),
    ("/etc/hayward/hayward.toml", "644 root"),
    ("/etc/hayward/hayward.env", "600 root"),
    ("/etc/systemd/system/hayward.service", "644 root"),
    ("/var/lib/hayward", "700 USER"),
    ("/var/lib/hayward/hayward.db", "600 USER"),
    ("/var/lib/hayward/keys", "700 USER"),
    ("/var/lib/hayward/hayward.sock", "600 USER"),
    ("/var/log/hayward", "750 USER"),
];

/// Beyond loopback without TLS it doesn't start, says why, and isn't tried again.
pub(super) fn in_clear(house: &House, sheet: &mut Sheet) -> Result<()> {
    house.install("--bind 0.0.0.0 --no-metrics")?;
    let started = house.host.run("systemctl start hayward")?;
    sheet.judge("beyond loopback without TLS: started", started.is_good(), "false", !started.is_good());
    sheet.is("exit status", house.property("ExecMainStatus")?, 78);
    sheet.is("tried again", house.property("NRestarts")?, 0);
    sheet.is("state", house.property("ActiveState")?, "failed");
    let journal = house.host.good("journalctl --no-pager -u hayward -o cat")?;
    sheet.says("the journal's hint", &journal, "--insecure-http");
    house.purge()
}

/// A profile, installed with the flags that mymcp knows, and used.
pub(super) fn profile(house: &House, sheet: &mut Sheet, expect: &Expect) -> Result<()> {
    let told = house.host.run(&format!(
        "{BINARY} install-service --dry-run --profile {} --port 8765 --install-ripgrep",
        expect.name
    ))?;
    sheet.judge(
        "a dry run",
        told.code.unwrap_or(-1),
        "0, and changes nothing",
        told.is_good() && !is_there(house)?,
    );
    let tokens = house.serve(expect.name)?;
    for (name, wanted) in [
        ("ActiveState", "active"),
        ("UnitFileState", "enabled"),
        ("Type", "notify"),
        ("Delegate", "yes"),
        ("KillMode", "process"),
        ("User", expect.user),
        ("NRestarts", "0"),
    ] {
        sheet.is(name, house.property(name)?, wanted);
    }
    sheet.says("told by sd_notify", &house.property("StatusText")?, "listens on https://");
    analyzed(house, sheet, expect)?;
    let journal = house.host.good("journalctl --no-pager -u hayward -o cat")?;
    sheet.says("the journal has what it says", &journal, "listens on https://");
    let shown = [&tokens.admin, &tokens.metrics].into_iter().filter(|token| journal.contains(*token)).count();
    sheet.is("tokens in the journal", shown, 0);
    for (path, wanted) in MODES {
        let found = house.host.good(&format!("stat --format '%a %U' {path}"))?;
        sheet.is(path, found, wanted.replace("USER", expect.user));
    }
    metrics(house, sheet, &tokens)?;
    let result = house.call(&tokens.rw, "bash_execute", &json!({ "command": "id -un; sleep 741 &" }))?;
    sheet.is(
        "a command is run by",
        &result["structuredContent"]["stdout"],
        json!(format!("{}\n", expect.user)),
    );
    sheet.is("what it leaves behind is alive", super::network::count(house, "sleep 741")?, 0);
    doctor(house, sheet, &tokens)?;
    house.purge()
}

fn is_there(house: &House) -> Result<bool> {
    Ok(house.host.run("ls /etc/hayward /var/lib/hayward /etc/systemd/system/hayward.service")?.code
        == Some(0))
}

fn analyzed(house: &House, sheet: &mut Sheet, expect: &Expect) -> Result<()> {
    let verified =
        house.host.run("systemd-analyze verify --man=no /etc/systemd/system/hayward.service 2>&1")?;
    let odd = verified.stdout.lines().filter(|line| line.contains("hayward")).count();
    sheet.is("`systemd-analyze verify`: complaints", odd, 0);
    let judged = house.host.good("systemd-analyze security --no-pager hayward.service")?;
    let exposure = exposure(&judged);
    let is_met = exposure.is_some_and(|found| found <= expect.exposure_max);
    let figure = exposure.map_or_else(|| "none".to_owned(), |found| format!("{found:.1}"));
    sheet.judge("`systemd-analyze security`", figure, &format!("≤ {:.1}", expect.exposure_max), is_met);
    Ok(())
}

/// The figure in "→ Overall exposure level for hayward.service: 1.9 OK 🙂".
fn exposure(judged: &str) -> Option<f64> {
    let line = judged.lines().rev().find(|line| line.contains("Overall exposure level"))?;
    line.rsplit_once(": ")?.1.split(' ').next()?.parse().ok()
}

/// The token for metrics opens `/metrics` and nothing else, and no other token opens that.
fn metrics(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    let page = house.curl(&format!("{} {}", super::super::rpc::bearer(&tokens.metrics), url("/metrics")))?;
    sheet.says("/metrics with its token", &page.stdout, "hayward_http_requests_total");
    sheet.is("/metrics with the rw token", house.status_of(&tokens.rw, "/metrics")?, 401);
    sheet.is("/metrics with the admin token", house.status_of(&tokens.admin, "/metrics")?, 401);
    sheet.is("/metrics without", house.status(&url("/metrics"))?, 401);
    sheet.is("/admin/tokens with the metrics token", house.status_of(&tokens.metrics, "/admin/tokens")?, 403);
    sheet.is("/mcp with the metrics token", house.mcp_status(&tokens.metrics)?, 401);
    sheet.is("/admin/tokens with the admin token", house.status_of(&tokens.admin, "/admin/tokens")?, 200);
    Ok(())
}

/// What `doctor` says of the running service, from beside it and from the other machine.
fn doctor(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    let config = "HAYWARD_CONFIG=/etc/hayward/hayward.toml";
    let beside = house.host.run(&format!("{config} {BINARY} doctor -o json"))?;
    let report: Value = serde_json::from_str(&beside.stdout).unwrap_or_default();
    let checks = report["checks"].as_array().into_iter().flatten();
    let odd: Vec<_> = checks.filter(|check| check["verdict"] != "ok").map(ToString::to_string).collect();
    sheet.judge(
        "`doctor` beside it: sound",
        &report["is_sound"],
        &odd.join("; "),
        report["is_sound"] == true && beside.is_good(),
    );
    let ask = |token: &str, ca: &str| {
        let asked = format!(
            "umask 077; printf %s {} >/tmp/token; {SHARED}/hayward doctor --url {} --token-file /tmp/token --ca-file {SHARED}/{ca}.pem",
            word(token),
            url("")
        );
        house.client.run(&asked)
    };
    let there = ask(&tokens.ro, "ca")?;
    sheet.judge("`doctor --url` from the other machine", there.stdout, "exit code 0", there.code == Some(0));
    for (what, token, ca) in
        [("a stranger's authority", &*tokens.ro, "stranger"), ("a wrong token", "hwd_ro_wrong", "ca")]
    {
        let refused = ask(token, ca)?;
        sheet.judge(
            &format!("`doctor --url` with {what}"),
            refused.code.unwrap_or(-1),
            "1",
            refused.code == Some(1),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposure_is_the_figure_of_the_last_line() {
        let judged = "✓ User=\n\n→ Overall exposure level for hayward.service: 1.9 OK 🙂\n";
        assert_eq!(exposure(judged), Some(1.9));
        assert_eq!(exposure("nothing"), None);
    }
}
