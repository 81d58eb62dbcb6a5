//! Landlock: which files a confined job reads and writes, which ports it uses, whom it signals.
//!
//! A hard requirement: a kernel that can't hold truncation (Linux 6.2) confines nobody. What newer
//! kernels hold beside that is asked for where it is there.

use std::fs;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::mounts::OWN;
use super::view::{Access, DEVICES, View};
use crate::profile::Network;

/// From the newest that is known to the oldest that will do.
const ABIS: [ABI; 8] = [ABI::V10, ABI::V9, ABI::V8, ABI::V7, ABI::V6, ABI::V5, ABI::V4, ABI::V3];

/// The rules for this view, not yet in force.
pub(super) fn rules(view: &View, network: Network, has_namespaces: bool) -> io::Result<RulesetCreated> {
    let (abi, ruleset) =
        ABIS.iter().find_map(|abi| Some((*abi, create(*abi, network)?))).ok_or_else(missing)?;
    let mut rules = Rules { abi, ruleset: Some(ruleset) };
    for grant in &view.grants {
        rules.grant(&grant.path, grant.access, view, has_namespaces)?;
    }
    if has_namespaces {
        // Names only, and of nothing that isn't meant to be seen.
        rules.add(Path::new("/"), AccessFs::ReadDir.into())?;
        for own in OWN {
            rules.add(Path::new(own), AccessFs::from_all(abi))?;
        }
    }
    for device in DEVICES {
        rules.add(Path::new(device), AccessFs::from_all(abi) & AccessFs::from_file(abi))?;
    }
    // Without a namespace it is the machine's: of others the kernel shows their names only.
    rules.add(Path::new("/proc"), read())?;
    rules.ruleset.ok_or_else(missing)
}

/// Puts them in force for this process and all that it starts.
pub(super) fn restrict(rules: RulesetCreated) -> io::Result<()> {
    let status = rules.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::FullyEnforced { Ok(()) } else { Err(missing()) }
}

fn create(abi: ABI, network: Network) -> Option<RulesetCreated> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let mut ruleset = ruleset.handle_access(AccessFs::from_all(abi)).ok()?;
    if network == Network::None && abi >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi)).ok()?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi)).ok()?;
    }
    ruleset.create().ok()
}

fn missing() -> io::Error {
    rustix::io::Errno::OPNOTSUPP.into()
}

fn read() -> BitFlags<AccessFs> {
    AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir
}

struct Rules {
    abi: ABI,
    /// Taken out and put back by each rule.
    ruleset: Option<RulesetCreated>,
}

impl Rules {
    /// Grants a tree. Where nothing can be laid over what is hidden in it, everything beside that
    /// is granted instead.
    fn grant(&mut self, path: &Path, access: Access, view: &View, has_namespaces: bool) -> io::Result<()> {
        if has_namespaces || !view.holds_hidden(path) {
            let access = match access {
                Access::Read => read(),
                Access::Write => AccessFs::from_all(self.abi),
            };
            return self.add(path, access);
        }
        if view.hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // What a link leads to is granted by its own path, or isn't.
            if !entry.file_type()?.is_symlink() {
                self.grant(&entry.path(), access, view, has_namespaces)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
        let file = PathFd::new(path).map_err(io::Error::other)?;
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(self.abi) };
        let ruleset = self.ruleset.take().ok_or_else(missing)?;
        let ruleset = ruleset.add_rule(PathBeneath::new(file, access)).map_err(io::Error::other)?;
        self.ruleset = Some(ruleset);
        Ok(())
    }
}
