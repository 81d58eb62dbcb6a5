//! A caller's fence in the words of what runs its commands.

use std::path::PathBuf;

use hayward_api::fence::narrow::Ground;
use hayward_api::fence::{self, Fence};
use hayward_exec::system::readable;
use hayward_exec::{Confined, Network, Profile, Quota, User};

use crate::limits::Limits;

/// What commands of this caller may do.
pub fn profile(fence: &Fence) -> Profile {
    match fence.profile {
        fence::Profile::Full => Profile::Full,
        fence::Profile::Confined => Profile::Confined(Confined {
            read_write: fence.roots.clone(),
            read_only: fence.read_only.clone(),
            network: network(fence.network),
            user: fence.user.map(|user| User { uid: user.uid(), gid: user.gid() }),
        }),
    }
}

/// What one command of this caller may use up: what its fence says, else what is set for everybody.
pub fn quota(fence: &Fence, limits: &Limits) -> Quota {
    let fence::Quota { memory_bytes, processes, cpu_percent, file_bytes } = fence.quota;
    Quota { memory_bytes, processes, cpu_percent, file_bytes }.or(of_everybody(limits))
}

/// What holds on this machine where a fence says nothing. Looks the system's paths up.
pub fn ground(limits: &Limits) -> Ground {
    let real =
        |network| -> Vec<PathBuf> { readable(network).filter_map(|path| path.canonicalize().ok()).collect() };
    let system = real(Network::None);
    let mut resolver = real(Network::Shared);
    resolver.retain(|path| !system.contains(path));
    let common = of_everybody(limits);
    Ground { system, resolver, full: said(common), confined: said(common.or(Quota::CONFINED)) }
}

/// A quota in the words of a fence.
fn said(quota: Quota) -> fence::Quota {
    let Quota { memory_bytes, processes, cpu_percent, file_bytes } = quota;
    fence::Quota { memory_bytes, processes, cpu_percent, file_bytes }
}

fn of_everybody(limits: &Limits) -> Quota {
    let bound = |limit: u64| Some(limit).filter(|limit| *limit > 0);
    Quota {
        memory_bytes: bound(limits.bash_memory_bytes_max),
        processes: bound(limits.bash_processes_max),
        cpu_percent: bound(limits.bash_cpu_percent_max),
        file_bytes: None,
    }
}

/// Whom a caller's commands talk to.
pub(crate) fn network(network: fence::Network) -> Network {
    match network {
        fence::Network::None => Network::None,
        fence::Network::Shared => Network::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_handed_on_as_it_is() {
        let fence = Fence {
            profile: fence::Profile::Confined,
            roots: vec!["/srv/a".into()],
            read_only: vec!["/srv/b".into()],
            network: fence::Network::Shared,
            user: "7:8".parse().ok(),
            quota: fence::Quota::default(),
        };
        let Profile::Confined(confined) = profile(&fence) else { unreachable!("it is confined") };
        assert_eq!(confined.read_write, ["/srv/a"].map(std::path::PathBuf::from));
        assert_eq!(confined.read_only, ["/srv/b"].map(std::path::PathBuf::from));
        assert_eq!((confined.network, confined.user), (Network::Shared, Some(User { uid: 7, gid: 8 })));
        assert_eq!(profile(&Fence::default()), Profile::Full);
    }

    #[test]
    fn where_a_fence_says_nothing_that_of_everybody_holds_and_a_confined_one_has_more_bounds() {
        let limits = Limits { bash_processes_max: 9, ..Limits::default() };
        let ground = ground(&limits);
        let processes = Some(9);
        assert_eq!(ground.full, fence::Quota { processes, ..fence::Quota::default() });
        assert_eq!(ground.confined, fence::Quota { processes, ..said(Quota::CONFINED) });
        assert!(ground.system.contains(&"/usr".into()));
        assert!(ground.resolver.iter().all(|path| !ground.system.contains(path)));
    }

    #[test]
    fn a_fence_goes_before_what_is_set_for_everybody_and_zero_bounds_nothing() {
        let mut limits = Limits::default();
        assert!(quota(&Fence::default(), &limits).is_none());
        limits.bash_processes_max = 9;
        limits.bash_memory_bytes_max = 5;
        let own = fence::Quota { processes: Some(3), file_bytes: Some(2), ..fence::Quota::default() };
        let quota = quota(&Fence { quota: own, ..Fence::default() }, &limits);
        assert_eq!((quota.processes, quota.memory_bytes), (Some(3), Some(5)));
        assert_eq!((quota.cpu_percent, quota.file_bytes), (None, Some(2)));
    }
}
