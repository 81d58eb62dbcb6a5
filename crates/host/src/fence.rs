//! A caller's fence in the words of what runs its commands.

use hayward_api::fence::{self, Fence};
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
