//! Used from the other machine: over TLS, by name, with a token.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::house::{HOST, House, SHARED, word};
use super::super::rpc::{PORT, bearer, url};
use super::super::service::Tokens;
use super::super::sheet::Sheet;

/// Bytes of the file that goes up and down.
const FILE_BYTES: u64 = 20_000_000;

pub(super) fn play(house: &House, sheet: &mut Sheet) -> Result<()> {
    let tokens = house.serve("host")?;
    doors(house, sheet, &tokens)?;
    tools(house, sheet, &tokens)?;
    commands(house, sheet, &tokens)?;
    files(house, sheet, &tokens)?;
    transfers(house, sheet, &tokens)?;
    let verified = house.verified()?;
    sheet.judge("`audit verify`", verified.code.unwrap_or(-1), "0", verified.is_good());
    house.purge()
}

/// Who gets in, and who doesn't.
fn doors(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    sheet.is("by name, with the right authority", house.status(&url("/health"))?, 200);
    let stranger = format!("--cacert {SHARED}/stranger.pem {}", url("/health"));
    sheet.is("another authority: curl's exit code", house.curl(&stranger)?.code.unwrap_or(-1), 60);
    let address = house.client.good(&format!("getent hosts {HOST} | cut -d ' ' -f 1"))?;
    let by_address = format!("https://{address}:{PORT}/health");
    sheet.is(
        "a name that isn't the certificate's: curl's exit code",
        house.curl(&by_address)?.code.unwrap_or(-1),
        60,
    );
    let by_another_name = format!("--header 'Host: other.test' {}", url("/health"));
    sheet.is("a Host that isn't ours", house.status(&by_another_name)?, 403);
    let plain = house.curl(&format!("http://{HOST}:{PORT}/health"))?;
    sheet.says("plain HTTP", &plain.stdout, "https://");
    sheet.is("no token", house.status(&format!("--json '{{}}' {}", url("/mcp")))?, 401);
    sheet.is("a wrong token", house.mcp_status("hwd_rw_wrong")?, 401);
    sheet.is("a good token", house.mcp_status(&tokens.ro)?, 200);
    Ok(())
}

fn tools(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    sheet.is(
        "tools of rw / ro",
        format!("{} / {}", house.tools(&tokens.rw)?, house.tools(&tokens.ro)?),
        "8 / 4",
    );
    let refused = house.call(&tokens.ro, "bash_execute", &json!({ "command": "id" }))?;
    sheet.says("a command with ro", &refused.to_string(), "PermissionDenied");
    Ok(())
}

/// A command that leaves processes behind leaves none.
fn commands(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    let command = "sleep 711 & (setsid sleep 711 &) ; id -un; exit 3";
    let result = house.call(&tokens.rw, "bash_execute", &json!({ "command": command }))?;
    let said = &result["structuredContent"];
    sheet.is(
        "a command's output and exit code",
        format!("{} {}", said["stdout"], said["exit_code"]),
        r#""root\n" 3"#,
    );
    sheet.is("children that it left", said["survivors"].as_array().map_or(0, Vec::len), 2);
    sheet.is("of which are alive", count(house, "sleep 711")?, 0);
    let late = house.call(
        &tokens.rw,
        "bash_execute",
        &json!({ "command": "sleep 712 & sleep 712", "timeout": 1 }),
    )?;
    sheet.is("a command whose time is over", &late["structuredContent"]["timed_out"], true);
    sheet.is("processes of it that are alive", count(house, "sleep 712")?, 0);
    Ok(())
}

/// Processes on the host with this line.
pub(super) fn count(house: &House, line: &str) -> Result<String> {
    Ok(house.host.run(&format!("pgrep --count --full --exact {}", word(line)))?.stdout)
}

fn files(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    let path = "/srv/trial/note";
    let rw = |tool: &str, arguments: &Value| house.call(&tokens.rw, tool, arguments);
    rw("write_file", &json!({ "file_path": path, "content": "one\ntwo\n" }))?;
    rw("edit_file", &json!({ "file_path": path, "old_string": "two", "new_string": "drei" }))?;
    let read = house.call(&tokens.ro, "read_file", &json!({ "file_path": path }))?;
    sheet.says("written, edited, read", &read["structuredContent"]["content"].to_string(), "drei");
    let found = house.call(&tokens.ro, "grep", &json!({ "pattern": "dr.i", "path": "/srv/trial" }))?;
    sheet.says("found by content", &found.to_string(), path);
    let found = house.call(&tokens.ro, "glob", &json!({ "pattern": "n*", "path": "/srv/trial" }))?;
    sheet.says("found by name", &found.to_string(), path);
    for secret in ["/var/lib/hayward/hayward.db", "/etc/hayward/tls/key.pem"] {
        let refused = house.call(&tokens.rw, "read_file", &json!({ "file_path": secret }))?;
        sheet.says(secret, &refused.to_string(), "ProtectedPath");
    }
    house.host.good("rm -r /srv/trial").map(drop)
}

fn transfers(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    house.client.good(&format!("head -c {FILE_BYTES} /dev/urandom >/tmp/up"))?;
    let digest = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
    let sent = digest(house.client.good("sha256sum /tmp/up")?);
    let path = ticket(&house.call(
        &tokens.rw,
        "prepare_upload",
        &json!({ "dest_path": "/srv/trial/file", "max_bytes": FILE_BYTES }),
    )?);
    sheet.is("an upload", house.status(&format!("--upload-file /tmp/up {}", url(&path)))?, 200);
    sheet.is("its digest on the host", digest(house.host.good("sha256sum /srv/trial/file")?), &sent);
    sheet.is("its ticket again", house.status(&format!("--upload-file /tmp/up {}", url(&path)))?, 410);
    let path =
        ticket(&house.call(&tokens.ro, "prepare_download", &json!({ "src_path": "/srv/trial/file" }))?);
    house.curl(&format!("--output /tmp/down {}", url(&path)))?;
    sheet.is("the digest of a download", digest(house.client.good("sha256sum /tmp/down")?), &sent);
    let refused =
        house.call(&tokens.ro, "prepare_upload", &json!({ "dest_path": "/srv/x", "max_bytes": 1 }))?;
    sheet.says("an upload with ro", &refused.to_string(), "PermissionDenied");
    sheet.is(
        "a ticket of nobody's",
        house.status(&format!("{} {}", bearer(&tokens.rw), url("/files/raw/x")))?,
        404,
    );
    house.host.good("rm -r /srv/trial").map(drop)
}

/// The path of a ticket: the client knows under which address it reaches the host.
pub(super) fn ticket(result: &Value) -> String {
    let url = result["structuredContent"]["url"].as_str().unwrap_or_default();
    url.find("/files/raw/").map_or_else(String::new, |start| url[start..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_found_with_or_without_a_host() {
        for url in ["/files/raw/x", "https://h:1/files/raw/x"] {
            assert_eq!(ticket(&json!({ "structuredContent": { "url": url } })), "/files/raw/x");
        }
        assert_eq!(ticket(&json!({})), "");
    }
}
