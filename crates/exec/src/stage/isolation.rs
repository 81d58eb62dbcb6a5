//! Namespaces: what a confined job sees of the machine, cut off before anything else.

use std::fs;
use std::io;

use rustix::process::{getgid, getuid};
use rustix::thread::{
    CapabilitySet, UnshareFlags, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

use crate::profile::Network;

/// Puts this process into namespaces of its own, in a user namespace where it takes that; what it
/// starts from now on is in a process namespace too. Changes nothing where it fails.
pub(super) fn enter(network: Network) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    if unshare(flags).is_ok() {
        return Ok(());
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    unshare(flags | UnshareFlags::NEWUSER)?;
    // In there everybody is who they were; others don't exist.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    pass_on_capabilities()
}

/// Who isn't root in there would lose what the inner stage needs by executing it.
fn pass_on_capabilities() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.inheritable = sets.permitted;
    set_capabilities(None, sets)?;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if sets.permitted.contains(one) {
            configure_capability_in_ambient_set(one, true)?;
        }
    }
    Ok(())
}

/// It is deprecated for what it does to files that threads share. This process has one thread and
/// doesn't ask for that.
#[expect(deprecated, reason = "the other form is `unsafe`, for a flag that isn't used here")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}
