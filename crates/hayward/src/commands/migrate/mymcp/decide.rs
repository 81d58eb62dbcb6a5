//! What becomes of an installation of mymcp; no input and no output.

use std::net::IpAddr;
use std::path::PathBuf;

use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::names::ResourceName;
use hayward_auth::{PresentedToken, Token};

use super::old::{Old, OldToken};
use crate::config::keys::Keys;
use crate::config::layers::check;
use crate::config::mymcp::{Became, became};

/// Where mymcp listened when nothing was said.
const HOST: &str = "0.0.0.0";
/// Where mymcp wrote its log when nothing was said.
const LOG_DIR: &str = "/var/log/mymcp";
/// Characters of a name that are kept.
const NAME_CHARS: usize = 90;

/// What is taken over.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The directory of mymcp.
    pub(super) source: PathBuf,
    /// Names of keys and their values.
    pub(super) settings: Vec<(String, Vec<String>)>,
    pub(super) tokens: Vec<Taken>,
    /// What somebody should know.
    pub(super) notes: Vec<String>,
}

/// A token that is taken over.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) enabled: bool,
    pub(super) token: PresentedToken,
}

impl Taken {
    /// What it may do: its role, for as long as nobody revokes it.
    pub(super) fn spec(&self) -> TokenSpec {
        TokenSpec { enabled: self.enabled, ..self.role.into() }
    }
}

/// What becomes of it.
pub(super) fn decide(old: &Old, root: &clap::Command, keys: &Keys) -> Plan {
    let mut plan = Plan { source: old.dir.clone(), ..Plan::default() };
    settings(old, root, keys, &mut plan);
    own_settings(old, keys, &mut plan);
    let secrets = [("ADMIN_TOKEN", "admin"), ("METRICS_TOKEN", "metrics")];
    for (variable, role) in secrets {
        let stored = if role == "admin" { old.admin_token.as_deref() } else { None };
        if let Some(token) = old.variable(variable).or(stored.filter(|token| !token.is_empty())) {
            let had = OldToken { name: role.to_owned(), role: role.to_owned(), enabled: true };
            plan.token(token, &had);
        }
    }
    for (token, had) in &old.tokens {
        plan.token(token, had);
    }
    plan
}

/// The settings that have another name here.
fn settings(old: &Old, root: &clap::Command, keys: &Keys, plan: &mut Plan) {
    let has_log = logs(old);
    for (name, value) in &old.variables {
        let is_done =
            ["ADMIN_TOKEN", "METRICS_TOKEN", "TOKEN_FILE", "APP_DIR", "HOST"].contains(&name.as_str());
        if is_done || (name.starts_with("AUDIT_") && !has_log) {
            continue;
        }
        match became(name, value, keys) {
            Became::Set { key, values } => match keys.find(key).map(|key| check(root, key, &values)) {
                Some(Err(why)) => plan.notes.push(format!("`{name}` is not taken over: {why}")),
                _ => plan.set(key, values),
            },
            Became::Held => {}
            Became::Nothing(why) => plan.notes.push(format!("`{name}` is not taken over: {why}")),
        }
    }
}

fn logs(old: &Old) -> bool {
    let is_on = |word: &str| ["true", "1", "yes", "on"].contains(&word.to_lowercase().as_str());
    old.variable("AUDIT_ENABLED").is_some_and(is_on)
}

/// The settings that keep what held without being said.
fn own_settings(old: &Old, keys: &Keys, plan: &mut Plan) {
    let host = old.variable("HOST").unwrap_or(HOST);
    plan.set("host", vec![host.to_owned()]);
    let is_local = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_local && keys.find("insecure.http").is_some() {
        plan.set("insecure.http", vec!["true".to_owned()]);
        plan.notes.push(format!(
            "it goes on listening on `{host}` without encryption, as mymcp did: tokens cross the network in clear; better put TLS before it"
        ));
    }
    // Which names its clients know is nowhere written.
    plan.set("allowed.hosts", vec!["*".to_owned()]);
    plan.notes.push(
        "it goes on answering under every name, as mymcp did; better name those that clients use: `hayward config set allowed.hosts NAME…`"
            .to_owned(),
    );
    if logs(old) && old.variable("AUDIT_LOG_DIR").is_none() {
        plan.set("log.dir", vec![LOG_DIR.to_owned()]);
    }
    // Its tokens stand there in clear, and are good here, too.
    let kept = old.dir.display().to_string();
    match plan.settings.iter_mut().find(|(name, _)| name == "protected.paths") {
        Some((_, paths)) => paths.push(kept),
        None => plan.set("protected.paths", vec![kept]),
    }
}

impl Plan {
    fn set(&mut self, key: &str, values: Vec<String>) {
        self.settings.retain(|(name, _)| name != key);
        self.settings.push((key.to_owned(), values));
    }

    fn token(&mut self, token: &str, had: &OldToken) {
        let name = name(&had.name);
        let Some(role) = Role::ALL.into_iter().find(|role| role.as_str() == had.role) else {
            let note =
                format!("token `{name}` is not taken over: there is no role `{}`", had.role.escape_debug());
            return self.notes.push(note);
        };
        let Ok(presented) = Token::parse(token) else {
            let note = format!(
                "token `{name}` ({}) is not taken over: it isn't 32 random hexadecimal digits or more; make a new one",
                had.role
            );
            return self.notes.push(note);
        };
        if self.tokens.iter().any(|taken| taken.token.id == presented.id) {
            return;
        }
        let names: Vec<String> = self.tokens.iter().map(|taken| taken.name.clone()).collect();
        self.tokens.push(Taken { name: free(&name, &names), role, enabled: had.enabled, token: presented });
    }
}

/// A name that resources may have, as near to this one as may be.
fn name(had: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = had.trim().chars().map(plain).take(NAME_CHARS).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    let is_good =
        ResourceName::parse(name).is_ok() && !Role::ALL.iter().any(|role| role.temporary_name() == name);
    if is_good { name.to_owned() } else { "mymcp".to_owned() }
}

/// This name, or with a number if it is taken.
pub(super) fn free(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcde";

    fn plan(variables: &[(&str, &str)], tokens: &[(&str, &str, &str)]) -> Plan {
        let root = crate::line();
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let token = |(token, name, role): &(&str, &str, &str)| {
            (
                (*token).to_owned(),
                OldToken { name: (*name).to_owned(), role: (*role).to_owned(), enabled: true },
            )
        };
        let tokens = tokens.iter().map(token).collect();
        let old = Old { dir: "/etc/mymcp".into(), variables, tokens, admin_token: None };
        decide(&old, &root, &Keys::of(&root))
    }

    fn set(plan: &Plan, key: &str) -> Option<String> {
        plan.settings.iter().find(|(name, _)| name == key).map(|(_, values)| values.join(","))
    }

    #[test]
    fn what_held_without_being_said_is_said() {
        let plan = plan(&[("PORT", "9000"), ("AUDIT_ENABLED", "true"), ("PROTECTED_PATHS", "/a")], &[]);
        for (key, value) in [
            ("host", "0.0.0.0"),
            ("insecure.http", "true"),
            ("allowed.hosts", "*"),
            ("port", "9000"),
            ("log.dir", "/var/log/mymcp"),
            ("protected.paths", "/a,/etc/mymcp"),
        ] {
            assert_eq!(set(&plan, key).as_deref(), Some(value), "{key}");
        }
        for told in ["without encryption", "under every name"] {
            assert!(plan.notes.iter().any(|note| note.contains(told)), "{told}");
        }
    }

    #[test]
    fn what_is_local_stays_so_and_a_log_that_was_off_stays_off() {
        let plan = plan(
            &[("HOST", "127.0.0.1"), ("AUDIT_ENABLED", "false"), ("AUDIT_LOG_DIR", "/x"), ("PORT", "x")],
            &[],
        );
        assert!(set(&plan, "insecure.http").is_none() && set(&plan, "log.dir").is_none());
        assert!(set(&plan, "port").is_none());
        assert!(plan.notes.iter().any(|note| note.contains("`PORT` is not taken over")), "{:?}", plan.notes);
    }

    #[test]
    fn names_and_roles_are_kept_and_tokens_that_can_be_guessed_are_not() {
        let tokens = [0, 1, 2].map(|n| format!("tok_{HEX}{n}"));
        let plan = plan(
            &[("ADMIN_TOKEN", &format!("tok_{HEX}a"))],
            &[
                (&tokens[0], "My laptop!", "rw"),
                (&tokens[1], "My laptop!", "ro"),
                (&tokens[2], "temporary-ro", "ro"),
                ("tok_short", "weak", "rw"),
                (&format!("tok_{HEX}9"), "odd", "king"),
            ],
        );
        let taken: Vec<(&str, &str)> =
            plan.tokens.iter().map(|taken| (taken.name.as_str(), taken.role.as_str())).collect();
        assert_eq!(
            taken,
            [("admin", "admin"), ("My-laptop-", "rw"), ("My-laptop--2", "ro"), ("mymcp", "ro")]
        );
        for expect in ["`weak`", "`king`"] {
            assert!(plan.notes.iter().any(|note| note.contains(expect) && !note.contains("tok_")));
        }
    }
}
