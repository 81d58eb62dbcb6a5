//! Removed: first the service alone, then everything, and nothing of it is left behind.

use anyhow::{Context, Result};
use serde_json::json;

use super::super::house::{BINARY, House, LISTING};
use super::super::sheet::Sheet;
use super::life;
use super::network::count;

/// What a listing shows of a service that is there, or it would not show what is left of one.
const SEEN: [&str; 6] = [
    "/etc/systemd/system/hayward.service",
    "/var/lib/hayward/hayward.db",
    "wants/hayward.service",
    "/usr/local/bin/hayward serve",
    ":223D",
    "/var/lib/hayward/hayward.sock",
];
/// What a command leaves on purpose.
const BACKGROUND: &str = "sleep 731";
/// What may be another afterwards, and why.
const ALLOWED: [(&str, &str); 6] = [
    ("/etc/passwd-", "what `useradd` and `userdel` keep of before"),
    ("/etc/group-", "the same"),
    ("/etc/shadow-", "the same"),
    ("/etc/gshadow-", "the same"),
    ("/log/journal", "the journal"),
    ("/run/systemd/journal", "the journal's streams"),
];

pub(super) fn play(house: &House, sheet: &mut Sheet, profile: &str) -> Result<()> {
    let tokens = house.serve(profile)?;
    let installed = differences(&house.pristine, &house.host.good(LISTING)?);
    let shows = |part: &str| installed.iter().any(|line| line.starts_with('+') && line.contains(part));
    let user = (profile == "gateway").then_some("/etc/passwd");
    let unseen: Vec<_> = SEEN.into_iter().chain(user).filter(|part| !shows(part)).collect();
    sheet.judge("of a service that is there is not seen", unseen.join(", "), "nothing", unseen.is_empty());
    if profile == "host" {
        life::begin(house, &tokens, "removed")?;
    }
    house.host.good(&format!("{BINARY} uninstall-service --yes"))?;
    sheet.is("without --purge: unit / database / configuration", there(house)?, "gone / kept / kept");
    sheet.is(
        "without --purge: processes",
        house.host.run("pgrep --count --full '^/usr/local/bin/hayward'")?.stdout,
        0,
    );
    let again = house.install(&format!("--profile {profile} --bind 0.0.0.0 --enable-metrics"))?;
    sheet.is("installed again: tokens shown", again.len(), 0);
    house.start().context("installed again")?;
    sheet.is("installed again: a token from before", house.mcp_status(&tokens.rw)?, 200);

    if profile == "host" {
        life::begin(house, &tokens, "removed")?;
    }
    if profile == "host" {
        let lives_on =
            json!({ "command": format!("nohup {BACKGROUND} >/dev/null 2>&1 &"), "background": true });
        house.call(&tokens.rw, "bash_execute", &lives_on)?;
        house.host.good("systemctl restart hayward")?;
        sheet.is("what a command left on purpose outlives a restart", count(house, BACKGROUND)?, 1);
    }
    house.purge()?;
    let after = house.host.good(LISTING)?;
    let left = differences(&house.pristine, &after);
    sheet.judge("--purge: what it leaves", left.join("; "), "nothing", left.is_empty());
    sheet.is(
        "--purge again",
        house.host.run(&format!("{BINARY} uninstall-service --yes --purge"))?.code.unwrap_or(-1),
        0,
    );
    Ok(())
}

fn there(house: &House) -> Result<String> {
    house.host.good(
        "word() { test -e $1 && echo kept || echo gone; }; \
         echo $(word /etc/systemd/system/hayward.service) / $(word /var/lib/hayward/hayward.db) / $(word /etc/hayward/hayward.toml)",
    )
}

/// Lines that came or went, but for those that may.
pub(super) fn differences(before: &str, after: &str) -> Vec<String> {
    let is_allowed = |line: &str| ALLOWED.iter().any(|(part, _)| line.contains(part));
    let only = |one: &str, other: &str, sign: char| {
        let other: std::collections::BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line) && !is_allowed(line));
        lines.map(|line| format!("{sign}{line}")).collect::<Vec<_>>()
    };
    [only(after, before, '+'), only(before, after, '-')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went_is_told_but_for_what_may() {
        let found = differences("/a\n/b\n", "/a\n/c\n/var/log/journal/x\n");
        assert_eq!(found, ["+/c", "-/b"]);
    }
}
