//! Rule `walls`: things that only one place may do.

use super::source::Source;
use super::tree::Tree;
use super::{Finding, Rule};

pub(crate) const RULE: Rule = Rule {
    name: "walls",
    holds: "SQL, processes, HTTP servers, HTTP clients, CLI parsing and bare tasks stay in their places",
    check,
};

struct Wall {
    /// The paths that are walled in.
    paths: &'static [&'static str],
    /// The folders and files that may name them.
    inside: &'static [&'static str],
    why: &'static str,
}

const WALLS: &[Wall] = &[
    Wall { paths: &["sqlx", "rusqlite"], inside: &["crates/store/"], why: "SQL lives in `store` only" },
    Wall {
        paths: &["std::process::Command", "tokio::process"],
        inside: &["crates/exec/", "xtask/"],
        why: "a process is started in `exec` only, where it gets limits, a jail and an end",
    },
    Wall {
        paths: &["axum"],
        inside: &["crates/gateway/", "crates/controlplane/"],
        why: "the HTTP server framework stays in `gateway` and `controlplane`",
    },
    Wall {
        paths: &["hyper", "hyper_util", "httparse"],
        inside: &["crates/gateway/", "crates/controlplane/", "crates/egress/"],
        why: "HTTP is spoken at the two ends of the gateway: by the listeners, and by `egress`",
    },
    Wall {
        paths: &["reqwest", "ureq", "hyper::client"],
        inside: &["crates/egress/"],
        why: "outbound HTTP goes through `egress`, which is safe against SSRF",
    },
    Wall {
        paths: &["clap"],
        inside: &["crates/hayward/", "xtask/"],
        why: "the command line is parsed in `hayward` only",
    },
    Wall { paths: &["russh"], inside: &["crates/host/"], why: "SSH is spoken in `host` only" },
    Wall {
        paths: &["bollard", "kube"],
        inside: &["crates/runtime/"],
        why: "container engines are driven by `runtime` only",
    },
    Wall {
        paths: &["tokio::spawn", "tokio::task::spawn"],
        inside: &[],
        why: "a bare task is neither named nor drained: use a `TaskTracker` or a `JoinSet`",
    },
    Wall {
        paths: &["std::io::stdout", "std::io::Stdout", "tokio::io::stdout"],
        inside: &["crates/hayward/", "xtask/"],
        why: "stdout carries protocol frames or answers, and its owner is the binary",
    },
];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(of_source).collect()
}

fn of_source(source: &Source) -> Vec<Finding> {
    let walls = WALLS.iter().filter(|wall| !wall.inside.iter().any(|it| source.path.starts_with(it)));
    walls.flat_map(|wall| breaches(source, wall)).collect()
}

fn breaches(source: &Source, wall: &Wall) -> Vec<Finding> {
    let mut found: Vec<_> = source
        .uses
        .iter()
        .filter(|path| wall.paths.iter().any(|walled| path.starts_with(walled)))
        .map(|path| {
            let message = format!("names `{}`: {}", path.segments.join("::"), wall.why);
            Finding::new(&source.path, path.line, message)
        })
        .collect();
    found.dedup_by_key(|finding| finding.line);
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn each_wall_keeps_the_thing_in_its_place() {
        for wall in WALLS {
            for path in wall.paths {
                let code = format!("use {path};");
                for inside in wall.inside {
                    let file = format!("{inside}src/thing.rs");
                    let own: Vec<_> = check(&RULE, &[(&file, &code)])
                        .into_iter()
                        .filter(|message| message.ends_with(wall.why))
                        .collect();
                    assert_eq!(own, [""; 0], "{path} in {inside}");
                }
                let outside = check(&RULE, &[("crates/api/src/thing.rs", &code)]);
                assert!(!outside.is_empty(), "{path} outside");
            }
        }
    }

    #[test]
    fn tests_are_free() {
        let inline = "#[cfg(test)]\nmod tests { use std::process::Command; }";
        assert_eq!(check(&RULE, &[("crates/host/src/thing.rs", inline)]), [""; 0]);
        let whole = "use std::process::Command;";
        assert_eq!(check(&RULE, &[("crates/host/tests/thing.rs", whole)]), [""; 0]);
    }

    #[test]
    fn a_line_is_reported_once() {
        let code = "use std::process::Command; ";
        let both = format!("fn f() {{ std::process::Command::new(tokio::process::Command::new(0)) }} {code}");
        assert_eq!(check(&RULE, &[("crates/host/src/thing.rs", &both)]).len(), 1);
    }
}
