//! What of the machine every confined caller reads, and what of that is not for everybody.
//!
//! The one list: the stage grants it to commands, and whoever reads files in the name of a confined caller
//! asks here as well.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::profile::Network;

/// What every program needs, and may not change.
pub const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"];

/// What of that isn't for everybody.
pub const SECRETS: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/hayward",
];

/// Where names are looked up; where they are links, what they lead to is granted.
pub(crate) const RESOLVER: &[&str] = &["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/// What isn't made of files: no root lies in it.
pub const KERNEL: &[&str] = &["/proc", "/sys", "/dev"];

/// Where settings are, among which may be some that aren't for everybody.
pub(crate) const SETTINGS: &str = "/etc";

/// The paths that a confined caller with this network reads beside its roots; some may be missing, some links.
pub fn readable(network: Network) -> impl Iterator<Item = &'static Path> {
    let resolver = if network == Network::Shared { RESOLVER } else { &[] };
    SYSTEM.iter().chain(resolver).map(Path::new)
}

/// Whether this isn't for everybody, so that root keeps it from whoever it acts for.
pub(crate) fn is_private(metadata: &Metadata) -> bool {
    let for_everybody = if metadata.is_dir() { 0o005 } else { 0o004 };
    !metadata.is_symlink() && metadata.mode() & for_everybody != for_everybody
}

/// The private setting that this real path is or lies in, if it does.
pub fn private_setting(real: &Path) -> Option<PathBuf> {
    let settings =
        real.ancestors().take_while(|above| above.starts_with(SETTINGS) && *above != Path::new(SETTINGS));
    let is_found = |above: &&Path| fs::symlink_metadata(above).is_ok_and(|metadata| is_private(&metadata));
    settings.filter(is_found).last().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_not_for_everybody_are_found_and_others_are_not() {
        for path in ["/etc/passwd", "/etc", "/usr/bin", "/", "/etc/no-such-file", "/root"] {
            assert_eq!(private_setting(Path::new(path)), None, "{path}");
        }
        if Path::new("/etc/shadow").exists() {
            assert_eq!(private_setting(Path::new("/etc/shadow")), Some("/etc/shadow".into()));
        }
    }

    #[test]
    fn names_are_looked_up_only_where_there_is_a_network() {
        let has_resolver = |network| readable(network).any(|path| path == Path::new("/etc/resolv.conf"));
        assert!(has_resolver(Network::Shared) && !has_resolver(Network::None));
    }
}
