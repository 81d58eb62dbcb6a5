//! Installed with every flag, most of them mymcp's, and with one that comes later.

use anyhow::{Context, Result};

use super::super::house::{BINARY, House, LISTING};
use super::super::rpc::bearer;
use super::super::sheet::Sheet;
use super::away::differences;

/// Where everything is, which isn't where it is otherwise.
const PLACES: &str = "--config-dir '/etc/hay ward' --log-dir /srv/log/hayward --data-dir /srv/hayward";

pub(super) fn play(house: &House, sheet: &mut Sheet) -> Result<()> {
    elsewhere(house, sheet)?;
    later(house, sheet)
}

/// Everything elsewhere, as another user.
fn elsewhere(house: &House, sheet: &mut Sheet) -> Result<()> {
    let options =
        "--port 9000 --bind 127.0.0.1 --service-user mcp --enable-audit --no-metrics --skip-ripgrep";
    let shown = house.install(&format!("{options} {PLACES}"))?;
    sheet.is("tokens shown", shown.len(), 1);
    house.start()?;
    let answer = house.host.good(&format!(
        "curl --silent --output /dev/null --write-out '%{{http_code}}' {} http://127.0.0.1:9000/admin/tokens",
        bearer(&shown[0])
    ))?;
    sheet.is("served at its port", answer, 200);
    let owners = house.host.good(
        "stat --format '%U %a' /srv/hayward /srv/hayward/hayward.db /srv/log/hayward /srv/log/hayward/audit.log '/etc/hay ward' | tr '\\n' ' '",
    )?;
    sheet.is("owners and modes", owners, "mcp 700 mcp 600 mcp 750 mcp 640 root 755");
    sheet.is(
        "runs as",
        house.host.good("ps -o user= -p $(systemctl show --value -p MainPID hayward)")?,
        "mcp",
    );
    let refused = house.host.run(&format!("{BINARY} uninstall-service --yes --purge --data-dir /srv"))?;
    sheet.judge("a purge of what isn't ours", &refused.stderr, "refused", !refused.is_good());
    sheet.is("and nothing is removed", house.property("ActiveState")?, "active");
    house.host.good(&format!("{BINARY} uninstall-service --yes --purge {PLACES}"))?;
    house.host.good("rmdir /srv/log")?;
    let left = differences(&house.pristine, &house.host.good(LISTING)?);
    sheet.judge("--purge: what it leaves", left.join("; "), "nothing", left.is_empty());
    Ok(())
}

/// Metrics, wanted later: beside a running service it is refused, and nothing of it changes hands.
fn later(house: &House, sheet: &mut Sheet) -> Result<()> {
    let options = "--profile gateway --no-audit";
    let shown = house.install(options)?;
    sheet.is("tokens shown without --enable-metrics", shown.len(), 1);
    house.start()?;
    let page = |token: &str| {
        house.host.good(&format!(
            "curl --silent --output /dev/null --write-out '%{{http_code}}' {} http://127.0.0.1:8765/metrics",
            bearer(token)
        ))
    };
    sheet.is("/metrics without a token for it", page(&shown[0])?, 503);
    let refused = house.host.run(&format!("{BINARY} install-service --yes {options} --enable-metrics"))?;
    sheet.says("--enable-metrics beside a running service", &refused.stderr, "systemctl stop hayward");
    let foreign = house.host.good("find /var/lib/hayward ! -user hayward | wc -l")?;
    sheet.is("files that changed hands", foreign, 0);
    house.host.good("systemctl stop hayward")?;
    let foreign = house.host.run(&format!("{BINARY} token list --data-dir /var/lib/hayward"))?;
    sheet.says("its tokens, listed by root", &foreign.stderr, "sudo -u");
    let own =
        "runuser -u hayward -- hayward token add --config /etc/hayward/hayward.toml --name own --role ro";
    let made = house.host.good(own)?;
    let shown = house.install(&format!("{options} --enable-metrics"))?;
    sheet.is("tokens shown, stopped", shown.len(), 1);
    house.start()?;
    sheet.is("a token that its user made while it was stopped, at /metrics", page(made.trim())?, 401);
    sheet.is("/metrics with it", page(shown.first().context("a token")?)?, 200);
    house.purge()
}
