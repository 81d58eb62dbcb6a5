//! The trials, in the order of a service's life.

mod away;
mod boot;
mod flags;
mod install;
mod life;
mod migrate;
mod network;
mod upgrade;

use anyhow::Result;

use super::house::House;
use super::sheet::Sheet;

/// One trial.
pub(super) struct Trial {
    /// Its name.
    pub(super) name: &'static str,
    /// Plays it on a host without the service, and leaves one without.
    pub(super) play: fn(&House, &mut Sheet) -> Result<()>,
}

/// All of them.
pub(super) const ALL: [Trial; 12] = [
    Trial { name: "in clear", play: install::in_clear },
    Trial { name: "profile host", play: |house, sheet| install::profile(house, sheet, &install::HOST) },
    Trial { name: "profile gateway", play: |house, sheet| install::profile(house, sheet, &install::GATEWAY) },
    Trial { name: "flags", play: flags::play },
    Trial { name: "network", play: network::play },
    Trial { name: "life, host", play: |house, sheet| life::play(house, sheet, "host") },
    Trial { name: "life, gateway", play: |house, sheet| life::play(house, sheet, "gateway") },
    Trial { name: "upgrade", play: upgrade::play },
    Trial { name: "mymcp", play: migrate::play },
    Trial { name: "removal, host", play: |house, sheet| away::play(house, sheet, "host") },
    Trial { name: "removal, gateway", play: |house, sheet| away::play(house, sheet, "gateway") },
    // Last, since `/run` is another afterwards, and removals look there.
    Trial { name: "boot", play: boot::play },
];
