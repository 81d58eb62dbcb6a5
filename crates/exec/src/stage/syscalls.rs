//! System calls that a confined job has no use for, and attackers have.
//!
//! A list of what is denied, not of what is allowed: a job may be any program. Two filters, because
//! a program that is told "there is no such call" falls back to another one, and one that is told
//! "you may not" gives up.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::profile::Network;

/// What isn't there: newer ways to do what older calls do, which a filter can't look into.
const MISSING: &[i64] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// What is forbidden.
const FORBIDDEN: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The kernel.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_vhangup,
    // File systems.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    // Namespaces.
    libc::SYS_setns,
    // Keys.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Memory of other nodes and processes.
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// What reaches into other processes of the same user, where they are not out of sight.
const FORBIDDEN_IN_SIGHT: &[i64] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Calls that change a process, and which argument says whose; 0 is the caller.
const OF_A_PROCESS: &[(i64, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// The flags of new namespaces.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `CLONE_NEWTIME`; for `clone` the same bit is part of a signal number.
const NEW_TIME: u64 = 0x80;

/// Requests to a terminal that put words into somebody's mouth or make it somebody else's.
const TERMINAL: &[u64] = &[
    0x5412, // TIOCSTI
    0x541c, // TIOCLINUX
    0x5423, // TIOCSETD
];

/// Puts both filters in force for this process and all that it starts.
pub(super) fn deny(network: Network, has_namespaces: bool) -> io::Result<()> {
    let missing = calls(MISSING);
    let mut forbidden = calls(FORBIDDEN);
    insert(&mut forbidden, libc::SYS_ioctl, &any(TERMINAL, 1, &SeccompCmpOp::Eq)?);
    let flags: Vec<u64> = NAMESPACES.iter().map(|flag| u64::from(flag.cast_unsigned())).collect();
    insert(&mut forbidden, libc::SYS_clone, &any_bit(&flags)?);
    let flags: Vec<u64> = flags.into_iter().chain([NEW_TIME]).collect();
    insert(&mut forbidden, libc::SYS_unshare, &any_bit(&flags)?);
    // A lease makes whoever opens the file wait, whosever it is.
    let lease = u64::from(libc::F_SETLEASE.cast_unsigned());
    insert(&mut forbidden, libc::SYS_fcntl, &any(&[lease], 1, &SeccompCmpOp::Eq)?);
    if !has_namespaces {
        forbidden.append(&mut calls(FORBIDDEN_IN_SIGHT));
        for (call, argument) in OF_A_PROCESS {
            insert(&mut forbidden, *call, &any(&[0], *argument, &SeccompCmpOp::Ne)?);
        }
    }
    insert(&mut forbidden, libc::SYS_socket, &[other_than(&families(network, has_namespaces))?]);
    // Their program is in order, so a failure is the kernel's.
    for (rules, errno) in [(missing, Errno::NOSYS), (forbidden, Errno::PERM)] {
        apply_filter(&program(rules, errno)?).map_err(io::Error::other)?;
    }
    Ok(())
}

/// The families of sockets that a job may have. A Unix socket reaches whatever listens anywhere in
/// the tree, Landlock or not, so without a tree of its own it has none (pairs it may have).
fn families(network: Network, has_namespaces: bool) -> Vec<u64> {
    let unix = has_namespaces.then_some(libc::AF_UNIX);
    let ip: &[i32] = match network {
        Network::None => &[],
        Network::Shared => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    };
    unix.iter().chain(ip).map(|family| u64::from(family.cast_unsigned())).collect()
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn calls(numbers: &[i64]) -> Rules {
    let mut rules = Rules::new();
    for number in numbers {
        insert(&mut rules, *number, &[]);
    }
    rules
}

/// Adds rules for a call, by all numbers that it has.
fn insert(rules: &mut Rules, number: i64, of: &[SeccompRule]) {
    for number in numbers(number) {
        rules.insert(number, of.to_vec());
    }
}

/// On x86-64 the kernel may know a second table, with the same numbers and a mark, and some others.
#[cfg(target_arch = "x86_64")]
fn numbers(number: i64) -> Vec<i64> {
    const X32: i64 = 0x4000_0000;
    let other = match number {
        libc::SYS_ioctl => Some(514),
        libc::SYS_ptrace => Some(521),
        libc::SYS_kexec_load => Some(528),
        libc::SYS_process_vm_readv => Some(539),
        libc::SYS_process_vm_writev => Some(540),
        libc::SYS_move_pages => Some(533),
        _ => None,
    };
    [number].into_iter().chain([number | X32]).chain(other.map(|number| number | X32)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn numbers(number: i64) -> Vec<i64> {
    vec![number]
}

/// Matches an argument that is one of these.
fn any(values: &[u64], argument: u8, by: &SeccompCmpOp) -> io::Result<Vec<SeccompRule>> {
    values.iter().map(|value| rule(vec![condition(argument, by.clone(), *value)?])).collect()
}

/// Matches a first argument that has one of these bits.
fn any_bit(bits: &[u64]) -> io::Result<Vec<SeccompRule>> {
    let of = |bit: &u64| rule(vec![condition(0, SeccompCmpOp::MaskedEq(*bit), *bit)?]);
    bits.iter().map(of).collect()
}

/// Matches a first argument that is none of these. With none at all, everything is matched.
fn other_than(values: &[u64]) -> io::Result<SeccompRule> {
    let none: &[u64] = &[u64::from(u32::MAX)];
    let values = if values.is_empty() { none } else { values };
    rule(values.iter().map(|value| condition(0, SeccompCmpOp::Ne, *value)).collect::<io::Result<_>>()?)
}

fn condition(argument: u8, by: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, by, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn program(rules: Rules, errno: Errno) -> io::Result<BpfProgram> {
    let errno = u32::try_from(errno.raw_os_error()).map_err(io::Error::other)?;
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    filter.map_err(io::Error::other)?.try_into().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_makes_filters() {
        for numbers in [MISSING, FORBIDDEN] {
            assert!(!program(calls(numbers), Errno::PERM).unwrap().is_empty());
        }
    }

    #[test]
    fn families_are_those_that_were_asked_for() {
        assert_eq!(families(Network::None, true), [1]);
        assert_eq!(families(Network::None, false), [0; 0]);
        assert_eq!(families(Network::Shared, true), [1, 2, 10, 16]);
    }
}
