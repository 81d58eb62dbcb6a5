//! Another binary in the place of the old one, back again, and the installation run over what is there.

use anyhow::{Context, Result};
use serde_json::json;

use super::super::house::{BINARY, House, SHARED};
use super::super::rpc::{bearer, url};
use super::super::sheet::Sheet;
use super::network::ticket;

/// What is listed before and after: files of the installation with mode, owner and content.
const INSTALLED: &str = "find /etc/hayward /etc/systemd/system /var/lib/hayward/keys -printf '%p %m %u %l\\n' | sort; \
     find /etc/hayward /etc/systemd/system /var/lib/hayward/keys -type f -exec sha256sum {} + | sort -k 2";

pub(super) fn play(house: &House, sheet: &mut Sheet) -> Result<()> {
    let tokens = house.serve("host")?;
    house.host.good("HAYWARD_CONFIG=/etc/hayward/hayward.toml hayward config set log.level info")?;
    house.host.good("systemctl restart hayward")?;
    house.call(&tokens.rw, "bash_execute", &json!({ "command": "echo before >/srv/trial" }))?;
    let upload = ticket(&house.call(
        &tokens.rw,
        "prepare_upload",
        &json!({ "dest_path": "/srv/up", "max_bytes": 9 }),
    )?);
    let (installed, records) = (house.host.good(INSTALLED)?, records_now(house)?);

    // The same build with other bytes: another file, under the name of the old one.
    house
        .host
        .good(&format!("cp {BINARY} {SHARED}/old; cp {BINARY} {SHARED}/next; echo next >>{SHARED}/next"))?;
    house.begin(&tokens.rw, "sleep 3; echo finished", "finished")?;
    house.client.good(&format!("rm -f {SHARED}/stream; ({}) >{SHARED}/stream 2>&1 &", stream(&tokens.ro)))?;
    house.wait("pgrep --full --exact 'sleep 3'")?;
    replace(house, "next")?;
    sheet.is(
        "again over what is there: tokens shown",
        house.install("--enable-metrics --bind 0.0.0.0")?.len(),
        0,
    );
    house.host.good("systemctl restart hayward")?;

    let running = house
        .host
        .good("cmp /proc/$(systemctl show --value -p MainPID hayward)/exe /shared/next && echo next")?;
    sheet.is("what runs", running, "next");
    house
        .wait(&format!("grep -q . {SHARED}/finished"))
        .context("the call under the restart got no answer")?;
    let answer = house.client.good(&format!("cat {SHARED}/finished"))?;
    sheet.says("a call under the restart", &answer, "finished");
    house.wait(&format!("grep -q '^ended' {SHARED}/stream")).context("the stream does not end")?;
    sheet.says(
        "a stream under the restart: curl's exit code",
        &house.client.good(&format!("cat {SHARED}/stream"))?,
        "ended 0",
    );
    sheet.is(
        "a ticket from before",
        house.status(&format!("--upload-file /etc/hostname {}", url(&upload)))?,
        404,
    );
    sheet.is(
        "tokens from before: rw / admin / metrics",
        format!(
            "{} / {} / {}",
            house.mcp_status(&tokens.rw)?,
            house.status_of(&tokens.admin, "/admin/tokens")?,
            house.status_of(&tokens.metrics, "/metrics")?
        ),
        "200 / 200 / 200",
    );
    let verified = house.verified()?;
    sheet.judge("`audit verify`", verified.code.unwrap_or(-1), "0", verified.is_good());
    let later = records_now(house)?;
    sheet.judge(
        "lines of the record, before / after",
        format!("{records} / {later}"),
        "more",
        later > records,
    );
    sheet.is("unit, configuration and keys", same(&installed, &house.host.good(INSTALLED)?), "the same");

    replace(house, "old")?;
    for round in ["downgraded", "downgraded, installed again"] {
        sheet.is(
            &format!("{round}: tokens shown"),
            house.install("--enable-metrics --bind 0.0.0.0")?.len(),
            0,
        );
        house.host.good("systemctl restart hayward")?;
        sheet.is(&format!("{round}: serves"), house.mcp_status(&tokens.rw)?, 200);
        sheet.is(
            &format!("{round}: unit, configuration and keys"),
            same(&installed, &house.host.good(INSTALLED)?),
            "the same",
        );
    }
    house.host.good("rm -f /srv/trial")?;
    house.purge()
}

/// A standing stream of a session, and how it ended.
fn stream(token: &str) -> String {
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "trial", "version": "1" } } });
    let curl = format!("curl --silent --show-error --max-time 60 --cacert {SHARED}/ca.pem {}", bearer(token));
    format!(
        "session=$({curl} --header 'Accept: application/json, text/event-stream' --json '{initialize}' --dump-header - --output /dev/null {mcp} \
         | grep -i '^mcp-session-id' | cut -d ' ' -f 2 | tr -d '\\r'); \
         {curl} --header 'Accept: text/event-stream' --header \"Mcp-Session-Id: $session\" {mcp}; echo; echo ended $?",
        mcp = url("/mcp")
    )
}

/// Puts a binary in the place of the one that is there, as packages do: the running one keeps its file.
fn replace(house: &House, with: &str) -> Result<()> {
    house
        .host
        .good(&format!("install -m 755 {SHARED}/{with} {BINARY}.new && mv {BINARY}.new {BINARY}"))
        .map(drop)
}

fn records_now(house: &House) -> Result<u64> {
    let lines = house.host.good("cat /var/lib/hayward/audit/record*.jsonl | wc -l")?;
    lines.parse().context("no number of lines")
}

/// "the same", or the first line that is another.
fn same(before: &str, after: &str) -> String {
    let mut pairs = before.lines().zip(after.lines());
    match pairs.find(|(before, after)| before != after) {
        None if before.len() == after.len() => "the same".to_owned(),
        None => "more or fewer".to_owned(),
        Some((before, after)) => format!("{before} became {after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        assert_eq!(same("a\nb", "a\nb"), "the same");
        assert_eq!(same("a\nb", "a\nc"), "b became c");
        assert_eq!(same("a", "a\nb"), "more or fewer");
    }
}
