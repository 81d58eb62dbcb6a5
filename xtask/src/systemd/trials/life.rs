//! Stopped under a call, killed under a call, told to read its certificate again.

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::certificates;
use super::super::house::{BINARY, HOST, House, SHARED};
use super::super::rpc::PORT;
use super::super::service::Tokens;
use super::super::sheet::Sheet;
use super::network::count;

/// A command that leaves nothing out: a child, one in a session of its own, one that ignores signals.
const JOB: &str =
    "sleep 721 & (setsid sleep 721 &) ; (trap '' TERM HUP INT; exec sleep 721) & exec sleep 721";
/// The line of its processes.
const LINE: &str = "sleep 721";

pub(super) fn play(house: &House, sheet: &mut Sheet, profile: &str) -> Result<()> {
    let tokens = house.serve(profile)?;
    stopped(house, sheet, &tokens)?;
    for (whom, is_told) in
        [("main", "its command was killed then"), ("all", "before the outcome was recorded")]
    {
        killed(house, sheet, &tokens, whom, is_told)?;
    }
    reloaded(house, sheet)?;
    house.purge()
}

/// Begins the job, and waits until all of it runs.
pub(super) fn begin(house: &House, tokens: &Tokens, file: &str) -> Result<()> {
    house.begin(&tokens.rw, JOB, file)?;
    house.wait(&format!("test $(pgrep --count --full --exact '{LINE}') = 4")).context("the job does not run")
}

/// Whatever is left of the service: its processes, those of its commands, its socket.
fn left(house: &House) -> Result<String> {
    let daemons = house.host.run("pgrep --count --full '^/usr/local/bin/hayward'")?.stdout;
    let sockets = house.host.good("awk '$4 == \"0A\" { print $2 }' /proc/net/tcp /proc/net/tcp6")?;
    let listens = sockets.contains(&format!(":{PORT:04X}"));
    Ok(format!("{daemons} / {} / {listens}", count(house, LINE)?))
}

fn stopped(house: &House, sheet: &mut Sheet, tokens: &Tokens) -> Result<()> {
    begin(house, tokens, "stopped")?;
    let seconds =
        house.host.good("start=$(date +%s); systemctl stop hayward; echo $(($(date +%s) - start))")?;
    sheet.judge(
        "`systemctl stop` under a command: seconds",
        &seconds,
        "≤ 30",
        seconds.parse::<u64>().is_ok_and(|it| it <= 30),
    );
    sheet.is("left: processes of ours / of the command / a listener", left(house)?, "0 / 0 / false");
    sheet.is("result", house.property("Result")?, "success");
    let verified = house.verified()?;
    sheet.judge("`audit verify` afterwards", verified.code.unwrap_or(-1), "0", verified.is_good());
    sheet.is("calls left open", open(house)?, "0");
    house.start()
}

/// Outcomes that a later daemon had to write.
pub(super) fn open(house: &House) -> Result<String> {
    let query = format!("{BINARY} audit query --data-dir /var/lib/hayward --result unknown -o json");
    let found: Value = serde_json::from_str(&house.host.good(&query)?).unwrap_or_default();
    Ok(found.as_array().map_or(0, Vec::len).to_string())
}

fn killed(house: &House, sheet: &mut Sheet, tokens: &Tokens, whom: &str, is_told: &str) -> Result<()> {
    let (before, restarts) = (house.property("MainPID")?, house.property("NRestarts")?);
    let unknown: usize = open(house)?.parse().unwrap_or(0);
    begin(house, tokens, "killed")?;
    house.host.good(&format!("systemctl kill --kill-whom={whom} -s KILL hayward"))?;
    house.wait(&format!("test $(systemctl show --value -p MainPID hayward) -gt 0 && test $(systemctl show --value -p MainPID hayward) != {before} && systemctl is-active hayward"))
        .context("it does not come back")?;
    let what = |text: &str| format!("SIGKILL of {whom}: {text}");
    let restarts: usize = restarts.parse().unwrap_or(0);
    sheet.is(&what("restarts by itself"), house.property("NRestarts")?, restarts + 1);
    sheet.is(&what("processes left of the command"), count(house, LINE)?, 0);
    sheet.is(&what("serves"), house.mcp_status(&tokens.ro)?, 200);
    let verified = house.verified()?;
    sheet.judge(&what("`audit verify`"), verified.code.unwrap_or(-1), "0", verified.is_good());
    sheet.is(&what("the call ends `unknown`"), open(house)?, unknown + 1);
    let record = house.host.good("grep -h LeftOpen /var/lib/hayward/audit/record.jsonl | tail -n 1")?;
    sheet.says(&what("the record tells of it"), &record, is_told);
    Ok(())
}

/// A connection of the client's that outlives a reload, and the certificate before and behind it.
fn reloaded(house: &House, sheet: &mut Sheet) -> Result<()> {
    let old = presented(house)?;
    let new = certificates::issue(&house.host)?;
    house.lay_certificate()?;
    let python = format!(
        "python3 - >{SHARED}/kept 2>&1 <<'END' &\n\
         import http.client, os, ssl, time\n\
         tls = ssl.create_default_context(cafile='{SHARED}/ca.pem')\n\
         one = http.client.HTTPSConnection('{HOST}', {PORT}, context=tls)\n\
         def ask():\n    one.request('GET', '/health'); answer = one.getresponse(); answer.read(); return answer.status\n\
         print(ask(), flush=True)\n\
         socket = one.sock\n\
         open('{SHARED}/connected', 'w').close()\n\
         while not os.path.exists('{SHARED}/go'): time.sleep(0.05)\n\
         print(ask(), one.sock is socket, flush=True)\n\
         END\n"
    );
    house.client.good(&format!("rm -f {SHARED}/connected {SHARED}/go {SHARED}/kept"))?;
    house.client.good(&python)?;
    house.wait(&format!("test -e {SHARED}/connected"))?;
    house.host.good("systemctl reload hayward")?;
    sheet.is("`systemctl reload`: state", house.property("ActiveState")?, "active");
    house.client.good(&format!("touch {SHARED}/go"))?;
    house.wait(&format!("test $(wc -l <{SHARED}/kept) -ge 2"))?;
    sheet.is(
        "a connection from before",
        house.client.good(&format!("cat {SHARED}/kept | tr '\\n' ' '"))?,
        "200 200 True",
    );
    let now = presented(house)?;
    sheet.judge(
        "the certificate before / after",
        format!("{old} / {now}"),
        &format!("another / {new}"),
        now == new && old != new,
    );
    house.host.good("echo rubbish >/etc/hayward/tls/cert.pem; systemctl reload hayward")?;
    sheet.is("a bad certificate: the old one stays", presented(house)?, &new);
    let journal = house.host.good("journalctl --no-pager -u hayward -o cat -n 20")?;
    sheet.says("a bad certificate: the journal says which file", &journal, "/etc/hayward/tls/cert.pem");
    Ok(())
}

/// The serial number of the certificate that a new connection gets.
fn presented(house: &House) -> Result<String> {
    house.client.good(&format!(
        "openssl s_client -connect {HOST}:{PORT} -servername {HOST} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    ))
}
