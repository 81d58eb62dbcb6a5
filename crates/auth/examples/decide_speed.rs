//! What a decision costs under 1,000 bindings, in nanoseconds: one that allows, and one that looks through all and denies.
//!
//! `cargo run --release -p hayward-auth --example decide_speed`. The account has the bindings by itself, or by ten groups;
//! each names another server. Median of nine rounds of 50 ms, on one thread.
#![expect(clippy::print_stdout, reason = "it shows figures")]
#![expect(clippy::cast_precision_loss, reason = "figures with few digits")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};
use hayward_auth::{Action, Decision, Policy, Verb, decide};
use serde_json::{Value, json};

const BINDINGS: usize = 1_000;
const NAME: &str = "ann@example.org";

fn main() {
    let principal = Principal {
        kind: PrincipalKind::User,
        name: NAME.to_owned(),
        ..Principal::local(NAME, Tier::Danger)
    };
    for groups in [0, 10] {
        let policy = policy(groups);
        for (what, name) in [("allows", "server-999"), ("denies", "server-none")] {
            let action =
                Action::Manage { verb: Verb::Edit, noun: "servers", name: Some(name), project: Some("home") };
            let is_right = (decide(&policy, &principal, &action) == Decision::Allow) == (what == "allows");
            assert!(is_right, "it {what} nothing");
            let mut rounds: Vec<f64> = (0..9).map(|_| round(&policy, &principal, action)).collect();
            rounds.sort_by(f64::total_cmp);
            println!("{BINDINGS} bindings, {groups:2} groups, {what}: {:.0} ns", rounds[rounds.len() / 2]);
        }
    }
}

/// One account, with all bindings in one rule of its own or spread over the rules of its groups.
fn policy(groups: usize) -> Policy {
    let binding = |at: usize| json!({"role": "edit", "resource": "servers", "name": format!("server-{at}")});
    let rule = |kind: &str, subject: &str, bindings: Vec<Value>| json!({"subjects": [{"kind": kind, "name": subject}], "roleBindings": bindings});
    let mut resources = vec![("user", NAME.to_owned(), json!({"role": "USER"}))];
    if groups == 0 {
        resources.push(("rbac", "own".to_owned(), rule("User", NAME, (0..BINDINGS).map(binding).collect())));
    }
    for group in 0..groups {
        let name = format!("group-{group}");
        let bindings = (0..BINDINGS).filter(|at| at % groups == group).map(binding).collect();
        resources.push(("group", name.clone(), json!({"members": [NAME]})));
        resources.push(("rbac", name.clone(), rule("Group", &name, bindings)));
    }
    Policy::new(resources.iter().map(|(kind, name, spec)| (*kind, name.as_str(), spec)), 0)
}

/// Nanoseconds of one decision.
fn round(policy: &Policy, principal: &Principal, action: Action<'_>) -> f64 {
    const AT_ONCE: u32 = 1_000;
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_millis(50) {
        for _ in 0..AT_ONCE {
            black_box(decide(black_box(policy), black_box(principal), black_box(&action)));
        }
        count += AT_ONCE;
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}
