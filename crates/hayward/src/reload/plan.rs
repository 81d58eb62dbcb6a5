//! What a new reading of the configuration changes, and what has to stay as it is until the next start.

use std::fmt;

use serde::Serialize;

use crate::config::keys::{Change, Key, Keys};
use crate::config::layers::Layers;

/// What is to be in force, and as the record is told it.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// What files and the environment say, but for what has to stay.
    #[serde(skip)]
    pub(super) layers: Layers,
    /// The names of the keys that change.
    pub(super) changed: Vec<String>,
    /// What was asked for and has to wait.
    pub(super) waiting: Vec<Waiting>,
}

/// A key that needs a restart to be another one.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Waiting {
    name: String,
    from: String,
    to: String,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, from, to } = self;
        write!(f, "`{name}` changed from {from} to {to} and needs a restart; it stays as it is")
    }
}

/// Sorts out what changes and what stays. `is_open` says whether a key is `serve`'s and no word of the command line
/// overrides it.
pub(super) fn plan(keys: &Keys, in_force: &Layers, asked: Layers, is_open: impl Fn(&Key) -> bool) -> Plan {
    let has_tls = |layers: &Layers| keys.find("tls.cert").is_some_and(|key| !layers.values(key).is_empty());
    let switches_tls = has_tls(in_force) != has_tls(&asked);
    // Whether a port speaks TLS is what clients were told, and decides where it may listen.
    let stays = |key: &Key| key.change == Change::Restart || (switches_tls && key.name.starts_with("tls."));
    let (mut changed, mut waiting) = (Vec::new(), Vec::new());
    for key in keys.iter().filter(|key| is_open(key)) {
        let (from, to) = (in_force.values(key), asked.values(key));
        if from == to {
        } else if stays(key) {
            let (from, to) = (shown(key, from), shown(key, to));
            waiting.push(Waiting { name: key.name.clone(), from, to });
        } else {
            changed.push(key.name.clone());
        }
    }
    let kept = in_force.settings.iter().filter(|setting| stays(&setting.key));
    let new = asked.settings.iter().filter(|setting| !stays(&setting.key));
    let settings = kept.chain(new).cloned().collect();
    Plan { layers: Layers { settings, ..asked }, changed, waiting }
}

fn shown(key: &Key, values: &[String]) -> String {
    match values {
        [] => "nothing".to_owned(),
        _ if key.is_secret => "`***`".to_owned(),
        _ => format!("`{}`", values.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::{Origin, Setting};

    type Said<'a> = &'a [(&'a str, &'a [&'a str])];

    fn layers(keys: &Keys, values: Said<'_>) -> Layers {
        let setting = |(name, values): &(&str, &[&str])| Setting {
            key: keys.find(name).unwrap().clone(),
            values: values.iter().map(ToString::to_string).collect(),
            origin: Origin::Default,
        };
        Layers { settings: values.iter().map(setting).collect(), ..Layers::default() }
    }

    fn check(from: Said<'_>, to: Said<'_>) -> (Vec<String>, Vec<String>, Vec<String>) {
        let keys = Keys::of(&crate::line());
        let planned = plan(&keys, &layers(&keys, from), layers(&keys, to), |key| key.name != "shell");
        let said = |setting: &Setting| format!("{}={}", setting.key.name, setting.values.join(","));
        let waiting = planned.waiting.iter().map(ToString::to_string).collect();
        (planned.changed, waiting, planned.layers.settings.iter().map(said).collect())
    }

    #[test]
    fn what_can_change_does_and_what_can_not_stays_and_is_named() {
        let from: Said<'_> = &[("port", &["1"]), ("log.level", &["info"]), ("shell", &["/a"])];
        assert_eq!(check(from, from).0, Vec::<String>::new());
        let to: Said<'_> =
            &[("port", &["2"]), ("log.level", &["debug"]), ("shell", &["/b"]), ("audit.files_kept", &["9"])];
        let (changed, waiting, in_force) = check(from, to);
        assert_eq!(changed, ["log.level"]);
        assert_eq!(waiting.len(), 2, "{waiting:?}");
        assert_eq!(waiting[0], "`port` changed from `1` to `2` and needs a restart; it stays as it is");
        assert_eq!(in_force, ["port=1", "log.level=debug", "shell=/b"]);
        let (changed, waiting, in_force) = check(from, &[]);
        assert_eq!(changed, ["log.level"]);
        assert!(waiting[0].contains("from `1` to `8765`"), "{waiting:?}");
        assert_eq!(in_force, ["port=1"]);
    }

    #[test]
    fn other_files_of_tls_change_and_tls_itself_waits() {
        let (on, other): (Said<'_>, Said<'_>) = (
            &[("tls.cert", &["/a"]), ("tls.key", &["/b"])],
            &[("tls.cert", &["/c"]), ("tls.key", &["/d"]), ("tls.client_ca", &["/e"])],
        );
        assert_eq!(check(on, other).0, ["tls.cert", "tls.key", "tls.client_ca"]);
        let (changed, waiting, in_force) = check(on, &[]);
        assert_eq!((changed.len(), waiting.len(), in_force.len()), (0, 2, 2));
        let (changed, waiting, in_force) = check(&[], on);
        assert_eq!((changed.len(), waiting.len(), in_force.len()), (0, 2, 0));
        assert!(waiting[0].contains("`tls.cert` changed from nothing to `/a`"), "{waiting:?}");
    }
}
