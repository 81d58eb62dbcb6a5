//! The narrower of two fences: what both of them allow, and nothing that either denies.
//!
//! What a path is good for is said by the root that is nearest above it. So the roots of the narrower fence are those
//! of both, each with the lesser of what the two allow there.

use std::path::{Path, PathBuf};

use super::{Fence, Network, Profile, Quota, ROOTS_MAX, RunAs};

/// What holds where a fence says nothing, on the machine that holds it.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// What everybody confined reads, by real paths.
    pub system: Vec<PathBuf>,
    /// What everybody confined reads beside who has a network, by real paths.
    pub resolver: Vec<PathBuf>,
    /// What a command under `full` may use up.
    pub full: Quota,
    /// What a command under `confined` may use up.
    pub confined: Quota,
}

/// Why two fences have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// Both name roots, and none of the one lies in one of the other.
    #[error("the token reaches {} and the tool {}, and nothing is in both", list(own), list(tool))]
    Roots {
        /// Those of the caller.
        own: Vec<PathBuf>,
        /// Those of the tool.
        tool: Vec<PathBuf>,
    },
    /// Nobody is two users at once.
    #[error("the token runs as {own} and the tool as {tool}")]
    Users {
        /// That of the caller.
        own: RunAs,
        /// That of the tool.
        tool: RunAs,
    },
    /// More roots than a kernel is asked to hold.
    #[error("the roots of the token and of the tool are more than {ROOTS_MAX} together")]
    TooManyRoots,
}

/// What is done with a path; writing is more than reading.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Read,
    Write,
}

impl Fence {
    /// What this fence and that of a tool allow, both of them.
    ///
    /// A quota of which the tool's fence says nothing stays as it is; what it says bounds what holds here where this
    /// fence says nothing.
    pub fn narrowed(&self, tool: &Self, ground: &Ground) -> Result<Self, Apart> {
        let quota = self.quota.lesser(tool.quota, ground.quota(self.profile));
        let both = match (self.profile, tool.profile) {
            (_, Profile::Full) => self.clone(),
            (Profile::Full, Profile::Confined) => tool.clone(),
            (Profile::Confined, Profile::Confined) => self.confined(tool, ground)?,
        };
        Ok(Self { quota, ..both })
    }

    fn confined(&self, tool: &Self, ground: &Ground) -> Result<Self, Apart> {
        let mut both = Self { network: self.network.lesser(tool.network), ..self.clone() };
        both.user = match (self.user, tool.user) {
            (Some(own), Some(tool)) if own != tool => return Err(Apart::Users { own, tool }),
            (own, tool) => own.or(tool),
        };
        // Who has no network any more isn't kept by it from changing the resolver's files in a root.
        let resolver = if self.network == tool.network { &[][..] } else { &ground.resolver };
        let mut named: Vec<&PathBuf> = self.named().chain(tool.named()).chain(resolver).collect();
        named.sort();
        named.dedup();
        (both.roots, both.read_only) = (Vec::new(), Vec::new());
        // What one of them doesn't name is at most the system's, which every fence has.
        for path in named.into_iter().filter(|path| self.names(path) && tool.names(path)) {
            match self.access(path, ground).min(tool.access(path, ground)) {
                Some(Access::Write) => both.roots.push(path.clone()),
                Some(Access::Read) => both.read_only.push(path.clone()),
                None => {}
            }
        }
        let count = both.named().count();
        if count == 0 && self.named().next().is_some() && tool.named().next().is_some() {
            let roots = |fence: &Self| fence.named().cloned().collect();
            return Err(Apart::Roots { own: roots(self), tool: roots(tool) });
        }
        if count > ROOTS_MAX { Err(Apart::TooManyRoots) } else { Ok(both) }
    }

    fn named(&self) -> impl Iterator<Item = &PathBuf> {
        self.roots.iter().chain(&self.read_only)
    }

    /// Whether a root lies at or above this path.
    fn names(&self, path: &Path) -> bool {
        self.named().any(|root| path.starts_with(root))
    }

    /// What may be done at this path, by the root that is nearest above it, the system's among them; writing goes
    /// before reading where the same is named twice.
    fn access(&self, path: &Path, ground: &Ground) -> Option<Access> {
        let resolver = if self.network.is_none() { &[][..] } else { &ground.resolver };
        let reads = self.read_only.iter().chain(&ground.system).chain(resolver);
        let writes = self.roots.iter().map(|root| (root, Access::Write));
        let above = writes.chain(reads.map(|root| (root, Access::Read)));
        let above = above.filter(|(root, _)| path.starts_with(root));
        above.max_by_key(|(root, access)| (root.components().count(), *access)).map(|(_, access)| access)
    }
}

impl Network {
    fn lesser(self, other: Self) -> Self {
        if self.is_none() { self } else { other }
    }
}

impl Quota {
    /// This quota where `other` says nothing, else the lesser of both; `unsaid` is what holds where this says nothing.
    fn lesser(self, other: Self, unsaid: Self) -> Self {
        let lesser = |own: Option<u64>, other: Option<u64>, unsaid: Option<u64>| match other {
            None => own,
            Some(other) => Some(own.or(unsaid).map_or(other, |own| own.min(other))),
        };
        Self {
            memory_bytes: lesser(self.memory_bytes, other.memory_bytes, unsaid.memory_bytes),
            processes: lesser(self.processes, other.processes, unsaid.processes),
            cpu_percent: lesser(self.cpu_percent, other.cpu_percent, unsaid.cpu_percent),
            file_bytes: lesser(self.file_bytes, other.file_bytes, unsaid.file_bytes),
        }
    }
}

impl Ground {
    fn quota(&self, profile: Profile) -> Quota {
        match profile {
            Profile::Full => self.full,
            Profile::Confined => self.confined,
        }
    }
}

fn list(roots: &[PathBuf]) -> String {
    let roots: Vec<_> = roots.iter().map(|root| format!("`{}`", root.display())).collect();
    roots.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Every path of three levels of two names, so that roots often lie in each other.
    fn paths() -> Vec<PathBuf> {
        let names = ["a", "b"];
        let one = names.map(|name| PathBuf::from("/").join(name));
        let below = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().flat_map(|path| names.map(|name| path.join(name))).collect()
        };
        let (two, three) = (below(&one), below(&below(&one)));
        [&one[..], &two, &three].concat()
    }

    fn ground() -> Ground {
        Ground {
            system: vec!["/a/a".into(), "/b".into()],
            resolver: vec!["/a/b/b".into()],
            full: Quota { processes: Some(50), ..Quota::default() },
            confined: Quota { processes: Some(50), memory_bytes: Some(5), ..Quota::default() },
        }
    }

    fn confined(roots: &[&str], read_only: &[&str]) -> Fence {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Fence {
            profile: Profile::Confined,
            roots: paths(roots),
            read_only: paths(read_only),
            ..Fence::default()
        }
    }

    fn access(fence: &Fence, path: &Path) -> Option<Access> {
        if fence.is_confined() { fence.access(path, &ground()) } else { Some(Access::Write) }
    }

    /// What a command gets at last.
    fn quota(fence: &Fence) -> [u64; 4] {
        let unsaid = ground().quota(fence.profile);
        let Quota { memory_bytes, processes, cpu_percent, file_bytes } = fence.quota;
        [
            memory_bytes.or(unsaid.memory_bytes),
            processes.or(unsaid.processes),
            cpu_percent.or(unsaid.cpu_percent),
            file_bytes.or(unsaid.file_bytes),
        ]
        .map(|bound| bound.unwrap_or(u64::MAX))
    }

    fn said(fence: &Fence) -> [u64; 4] {
        let Quota { memory_bytes, processes, cpu_percent, file_bytes } = fence.quota;
        [memory_bytes, processes, cpu_percent, file_bytes].map(|bound| bound.unwrap_or(u64::MAX))
    }

    fn talks(fence: &Fence) -> bool {
        !fence.is_confined() || !fence.network.is_none()
    }

    fn fences() -> impl Strategy<Value = Fence> {
        let roots =
            || btree_set(select(paths()), 0..4).prop_map(|roots| roots.into_iter().collect::<Vec<_>>());
        let bound = || proptest::option::of(1..100_u64);
        let quotas = (bound(), bound(), bound(), bound());
        let user = || select(vec![None, None, RunAs::new(1, 1).ok(), RunAs::new(2, 2).ok()]);
        (any::<bool>(), roots(), roots(), any::<bool>(), user(), quotas).prop_map(
            |(
                is_confined,
                roots,
                read_only,
                talks,
                user,
                (memory_bytes, processes, cpu_percent, file_bytes),
            )| {
                let quota = Quota { memory_bytes, processes, cpu_percent, file_bytes };
                let network = if talks { Network::Shared } else { Network::None };
                let full = Fence { quota, ..Fence::default() };
                let read_only = read_only.into_iter().filter(|root| !roots.contains(root)).collect();
                let confined =
                    Fence { profile: Profile::Confined, roots, read_only, network, user, ..full.clone() };
                if is_confined { confined } else { full }
            },
        )
    }

    proptest! {
        #[test]
        fn the_narrower_allows_what_both_allow_and_nothing_that_either_denies(
            own in fences(), tool in fences(),
        ) {
            match own.narrowed(&tool, &ground()) {
                Ok(both) => {
                    for path in paths().iter().flat_map(|path| [path.clone(), path.join("c")]) {
                        let lesser = access(&own, &path).min(access(&tool, &path));
                        // A resolver's file is read with a network only, and that is both's or nobody's.
                        let is_resolver = path.starts_with("/a/b/b") && talks(&own) != talks(&tool);
                        prop_assert!(
                            access(&both, &path) == lesser || (is_resolver && access(&both, &path) <= lesser)
                        );
                    }
                    prop_assert_eq!(talks(&both), talks(&own) && talks(&tool));
                    prop_assert!(own.user.is_none() || both.user == own.user);
                    prop_assert!(tool.user.is_none() || both.user == tool.user);
                    for (at, bound) in quota(&both).into_iter().enumerate() {
                        prop_assert!(bound <= quota(&own)[at] && bound <= said(&tool)[at]);
                    }
                    let unbounded = Fence { quota: Quota::default(), ..both.clone() };
                    prop_assert!(unbounded.check().is_ok());
                    prop_assert_eq!(both.narrowed(&tool, &ground()).unwrap(), both);
                }
                Err(Apart::Users { own: one, tool: other }) => prop_assert!(one != other),
                Err(Apart::Roots { own: one, tool: other }) => {
                    prop_assert!(!one.is_empty() && !other.is_empty());
                    for path in paths().iter().filter(|path| own.names(path)) {
                        prop_assert!(!tool.names(path));
                    }
                }
                Err(Apart::TooManyRoots) => prop_assert!(false, "there are few"),
            }
        }
    }

    #[test]
    fn roots_that_lie_in_each_other_are_narrowed_to_the_inner_and_the_lesser() {
        for (own, tool, expect) in [
            (confined(&["/srv"], &[]), confined(&["/srv/app"], &[]), confined(&["/srv/app"], &[])),
            (confined(&["/srv/app"], &[]), confined(&["/srv"], &[]), confined(&["/srv/app"], &[])),
            (confined(&["/srv"], &[]), confined(&[], &["/srv"]), confined(&[], &["/srv"])),
            (
                confined(&["/srv"], &["/srv/docs"]),
                confined(&["/srv/docs", "/opt"], &[]),
                confined(&[], &["/srv/docs"]),
            ),
            (
                confined(&["/srv"], &[]),
                confined(&["/srv"], &["/srv/docs"]),
                confined(&["/srv"], &["/srv/docs"]),
            ),
        ] {
            assert_eq!(own.narrowed(&tool, &Ground::default()).unwrap(), expect, "{own} and {tool}");
        }
    }

    #[test]
    fn roots_of_both_that_lie_apart_leave_nothing_and_no_roots_leave_the_system() {
        let (srv, opt, none) = (confined(&["/srv"], &[]), confined(&[], &["/opt"]), confined(&[], &[]));
        let apart = srv.narrowed(&opt, &Ground::default()).unwrap_err();
        assert_eq!(apart.to_string(), "the token reaches `/srv` and the tool `/opt`, and nothing is in both");
        assert!(confined(&["/srv"], &[]).narrowed(&confined(&["/srvx"], &[]), &Ground::default()).is_err());
        assert_eq!(srv.narrowed(&none, &Ground::default()).unwrap(), none);
        assert_eq!(none.narrowed(&opt, &Ground::default()).unwrap(), none);
    }

    #[test]
    fn a_tools_quota_never_raises_what_holds_for_a_token_that_says_nothing() {
        let bound = |processes| Quota { processes: Some(processes), ..Quota::default() };
        let tool = |processes| Fence { quota: bound(processes), ..Fence::default() };
        for (own, tool, expect) in [
            (Fence::default(), tool(9), 9),
            (Fence::default(), tool(99), 50),
            (Fence { quota: bound(70), ..Fence::default() }, tool(60), 60),
            (confined(&[], &[]), tool(99), 50),
        ] {
            let both = own.narrowed(&tool, &ground()).unwrap();
            assert_eq!((both.profile, both.quota.processes), (own.profile, Some(expect)));
        }
        assert_eq!(Fence::default().narrowed(&Fence::default(), &ground()).unwrap(), Fence::default());
    }

    #[test]
    fn more_roots_than_a_kernel_holds_are_refused() {
        let many = |prefix: &str| {
            let inner = (0..40).map(|at| PathBuf::from(format!("/srv/{prefix}{at}")));
            Fence {
                roots: std::iter::once(PathBuf::from("/srv")).chain(inner).collect(),
                ..confined(&[], &[])
            }
        };
        assert_eq!(many("a").narrowed(&many("b"), &Ground::default()), Err(Apart::TooManyRoots));
    }
}
