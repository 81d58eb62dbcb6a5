//! Who a confined job is, and that it never becomes more.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::profile::User;

/// Becomes this user, gives up every capability, and the way back to them. For a process with one
/// thread.
pub(super) fn drop_all(user: Option<User>) -> io::Result<()> {
    empty_bounding_set()?;
    // Root without capabilities stays without them, whatever it executes.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    may_be_forbidden(set_capabilities_secure_bits(bits))?;
    become_user(user)?;
    may_be_forbidden(clear_ambient_capability_set())?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    hide()
}

/// Closes the door to this process in `/proc` to everybody but root. What it starts has its own.
pub(super) fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Who has no privilege to give one up has none to regain either: [`set_no_new_privs`] sees to that.
fn may_be_forbidden(done: Result<(), Errno>) -> io::Result<()> {
    match done {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn empty_bounding_set() -> io::Result<()> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // Beyond the last that this kernel knows.
            Err(Errno::INVAL) => break,
            done => may_be_forbidden(done)?,
        }
    }
    Ok(())
}

fn become_user(user: Option<User>) -> io::Result<()> {
    let Some(User { uid, gid }) = user else {
        // Groups of the daemon aren't the job's.
        return may_be_forbidden(set_thread_groups(&[]));
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[gid])?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
