//! The host is started again, in order and like after a power cut, under a command.

use anyhow::Result;

use super::super::house::House;
use super::super::sheet::Sheet;
use super::life;

/// What ends a host, what that is to systemd, and how many calls it leaves without an outcome.
const ENDS: [(&str, &str, usize); 2] =
    [("a shutdown", "SIGRTMIN+3", 0), ("everything killed at once", "SIGKILL", 1)];

pub(super) fn play(house: &House, sheet: &mut Sheet) -> Result<()> {
    let tokens = house.serve("host")?;
    let mut unknown = 0;
    for (name, signal, left_open) in ENDS {
        life::begin(house, &tokens, "booted")?;
        house.boot(signal)?;
        unknown += left_open;
        let what = |text: &str| format!("{name}: {text}");
        sheet.is(&what("started with the host"), house.property("ActiveState")?, "active");
        sheet.is(&what("started at once"), house.property("NRestarts")?, 0);
        sheet.is(&what("a token from before"), house.mcp_status(&tokens.rw)?, 200);
        let verified = house.verified()?;
        sheet.judge(&what("`audit verify`"), verified.code.unwrap_or(-1), "0", verified.is_good());
        sheet.is(&what("calls that end `unknown`"), life::open(house)?, unknown);
    }
    house.purge()
}
