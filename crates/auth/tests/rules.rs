//! Who may do what, compared with a model that walks all rules and is easy to believe.
#![cfg(test)]

use std::collections::BTreeSet;

use hayward_api::kinds::rbac::nouns;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};
use hayward_auth::{Action, Decision, Operation, Policy, Verb, Visible, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

const ROLES: [(&str, &[Verb]); 6] = [
    ("edit", &[Verb::View, Verb::Create, Verb::Delete, Verb::Edit, Verb::Expose]),
    ("view", &[Verb::View]),
    ("create", &[Verb::Create]),
    ("delete", &[Verb::Delete]),
    ("run", &[Verb::Run]),
    ("expose", &[Verb::Expose, Verb::View]),
];
const OPERATIONS: [(&str, Operation); 6] = [
    ("impersonate", Operation::Impersonate),
    ("backup", Operation::Backup),
    ("restore", Operation::Restore),
    ("audit-purge", Operation::AuditPurge),
    ("logs", Operation::Logs),
    ("define-commands", Operation::DefineCommands),
];
const NAMES: [&str; 3] = ["a", "b", "*"];
const PROJECTS: [&str; 2] = ["p", "q"];
const RESOURCES: [&str; 5] = ["servers", "prompts", "audit", "rbac", "*"];
/// Those that are named in rules, and others.
const NOUNS: [&str; 6] = ["servers", "prompts", "audit", "rbac", "secrets", "tokens"];
/// Ann is a person in both groups, Bob one in none, ci a program in `ops`, Eve is disabled, Old is over, and nobody knows Zoe.
const ACCOUNTS: [(&str, PrincipalKind, bool, &[&str]); 6] = [
    ("ann", PrincipalKind::User, true, &["ops", "dev"]),
    ("bob", PrincipalKind::User, true, &[]),
    ("ci", PrincipalKind::ServiceAccount, true, &["ops"]),
    ("old", PrincipalKind::User, false, &["ops"]),
    ("eve", PrincipalKind::User, false, &["ops"]),
    ("zoe", PrincipalKind::User, false, &["ops"]),
];

/// What is stored beside the rules.
fn people() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("user", "ann", json!({"role": "USER"})),
        ("user", "bob", json!({"role": "ADMIN"})),
        ("user", "ci", json!({"role": "USER", "serviceAccount": true})),
        ("user", "old", json!({"role": "USER", "expiresAt": "2026-01-01T00:00:00Z"})),
        ("user", "eve", json!({"role": "ADMIN", "disabled": true})),
        ("group", "ops", json!({"members": ["ann", "ci", "eve", "old", "zoe"]})),
        ("group", "dev", json!({"members": ["ann"]})),
    ]
}

const NOW: i64 = 1_800_000_000;

fn policy(rules: &[Value]) -> Policy {
    let people = people();
    let stored = people.iter().map(|(kind, name, spec)| (*kind, *name, spec));
    Policy::new(stored.chain(rules.iter().map(|spec| ("rbac", "r", spec))), NOW)
}

fn rule(kind: &str, name: &str, binding: &Value) -> Value {
    json!({"subjects": [{"kind": kind, "name": name}], "roleBindings": [binding]})
}

fn principal(kind: PrincipalKind, name: &str) -> Principal {
    Principal { kind, ..Principal::local(name, Tier::Danger) }
}

// The model: all of the rules of permissions, said as shortly as possible.

fn subjects(rule: &Value, account: &(&str, PrincipalKind, bool, &[&str])) -> bool {
    let (name, kind, is_active, groups) = account;
    let is = |subject: &Value| match subject["kind"].as_str() {
        Some("User") => *kind == PrincipalKind::User && subject["name"] == *name,
        Some("ServiceAccount") => *kind == PrincipalKind::ServiceAccount && subject["name"] == *name,
        Some("Group") => groups.iter().any(|group| subject["name"] == *group),
        _ => false,
    };
    *is_active && rule["subjects"].as_array().unwrap().iter().any(is)
}

fn covers(binding: &Value, verb: Verb, noun: &str, name: &str, project: Option<&str>) -> bool {
    // What is recorded is granted as a whole, or not.
    let is_whole = binding["name"].is_null() && binding["project"].is_null();
    (noun != "audit" || is_whole)
        && ROLES.iter().any(|(role, verbs)| binding["role"] == *role && verbs.contains(&verb))
        && (binding["resource"] == "*" || binding["resource"] == noun)
        && (binding["name"].is_null() || binding["name"] == name)
        && (binding["project"].is_null() || project.is_some_and(|project| binding["project"] == project))
}

fn operates(binding: &Value, operation: &str) -> bool {
    binding["role"] == "run" && binding["action"] == operation
}

fn grants(
    rules: &[Value],
    account: &(&str, PrincipalKind, bool, &[&str]),
    is: impl Fn(&Value) -> bool,
) -> bool {
    let mine = rules.iter().filter(|rule| subjects(rule, account));
    mine.flat_map(|rule| rule["roleBindings"].as_array().unwrap()).any(is)
}

// What is compared.

fn may(policy: &Policy, principal: &Principal, action: Action<'_>) -> bool {
    decide(policy, principal, &action) == Decision::Allow
}

/// Every action on every noun, name and project, and every operation: what the policy says is what the model says.
fn compare(rules: &[Value]) {
    let policy = policy(rules);
    for account in &ACCOUNTS {
        let principal = principal(account.1, account.0);
        for verb in Verb::ALL {
            for noun in NOUNS {
                compare_noun(rules, &policy, account, &principal, (verb, noun));
            }
        }
        for (word, operation) in OPERATIONS {
            let expect = grants(rules, account, |binding| operates(binding, word));
            assert_eq!(
                may(&policy, &principal, Action::Operate(operation)),
                expect,
                "{word} {account:?} {rules:?}"
            );
        }
    }
}

fn compare_noun(
    rules: &[Value],
    policy: &Policy,
    account: &(&str, PrincipalKind, bool, &[&str]),
    principal: &Principal,
    (verb, noun): (Verb, &str),
) {
    let visible = policy.scope(principal, verb, noun);
    let mut some = BTreeSet::new();
    for name in NAMES.into_iter().chain(["other"]) {
        for project in PROJECTS.into_iter().map(Some).chain([None]) {
            let expect = grants(rules, account, |binding| covers(binding, verb, noun, name, project));
            let action = Action::Manage { verb, noun, name: Some(name), project };
            assert_eq!(may(policy, principal, action), expect, "{action:?} {account:?} {rules:?}");
            assert_eq!(visible.shows(name, project), expect, "{action:?} {account:?} {rules:?}");
            if expect {
                some.extend([None, project]);
            }
        }
    }
    // Without a name: something of the kind, whichever.
    let action = Action::Manage { verb, noun, name: None, project: None };
    assert_eq!(may(policy, principal, action), visible != Visible::None);
    for project in some {
        assert!(may(policy, principal, Action::Manage { verb, noun, name: None, project }), "{rules:?}");
    }
}

fn bindings() -> Vec<Value> {
    let mut all = Vec::new();
    for (role, _) in ROLES {
        for resource in RESOURCES {
            for name in NAMES[..2].iter().map(|name| json!(name)).chain([Value::Null]) {
                for project in [json!("p"), Value::Null] {
                    let mut binding = json!({"role": role, "resource": resource});
                    if !name.is_null() {
                        binding["name"] = name.clone();
                    }
                    if !project.is_null() {
                        binding["project"] = project;
                    }
                    all.push(binding);
                }
            }
        }
    }
    all.extend(OPERATIONS.map(|(word, _)| json!({"role": "run", "action": word})));
    all
}

#[test]
fn one_binding_of_every_sort_grants_what_the_model_says() {
    for binding in bindings() {
        for (kind, name) in
            [("User", "ann"), ("ServiceAccount", "ci"), ("Group", "ops"), ("User", "ci"), ("User", "eve")]
        {
            compare(&[rule(kind, name, &binding)]);
        }
    }
}

#[test]
fn what_is_not_understood_grants_nothing_and_takes_nothing_from_what_stands_beside_it() {
    let good = json!({"role": "view", "resource": "servers", "name": "a"});
    let broken = [
        json!({"role": "owner", "resource": "*"}),
        json!({"role": "edit", "resource": "everything"}),
        json!({"role": "edit", "resource": "server"}),
        json!({"role": "edit"}),
        json!({"role": "edit", "resource": "*", "except": "secrets"}),
        json!({"role": "edit", "resource": ["servers"]}),
        json!({"role": "edit", "resource": "servers", "name": ["b"]}),
        json!({"role": "edit", "resource": "servers", "name": {"prefix": "b"}}),
        json!({"role": "edit", "resource": "*", "project": 1}),
        json!({"role": "edit", "action": "logs"}),
        json!({"role": "run", "action": "everything"}),
        json!({"role": "run", "action": "*"}),
        json!({"role": "run", "action": "logs", "resource": "*"}),
        json!({"role": "run", "action": "logs", "name": "a"}),
        json!("edit"),
        json!(null),
    ];
    let expect = [rule("User", "ann", &good)];
    for broken in broken {
        let with = json!({"subjects": [{"kind": "User", "name": "ann"}], "roleBindings": [broken, good]});
        let (with, without) = (policy(&[with]), policy(&expect));
        let ann = principal(PrincipalKind::User, "ann");
        for (verb, noun) in Verb::ALL.into_iter().flat_map(|verb| nouns().map(move |noun| (verb, noun))) {
            assert_eq!(with.scope(&ann, verb, noun), without.scope(&ann, verb, noun), "{broken}");
        }
        assert!(OPERATIONS.iter().all(|(_, it)| !may(&with, &ann, Action::Operate(*it))), "{broken}");
    }
    for subject in [
        json!({"kind": "user", "name": "ann"}),
        json!({"kind": "User", "name": "*"}),
        json!({"kind": "User"}),
        json!("ann"),
        json!({"name": "ann"}),
    ] {
        let rule = json!({"subjects": [subject], "roleBindings": [{"role": "edit", "resource": "*"}]});
        compare(std::slice::from_ref(&rule));
        let (policy, ann) = (policy(&[rule]), principal(PrincipalKind::User, "ann"));
        assert!(nouns().all(|noun| policy.scope(&ann, Verb::View, noun) == Visible::None));
    }
}

#[test]
fn every_group_counts_however_many_sets_of_groups_there_are() {
    // Each account is in groups of its own: many more sets than are added up beforehand.
    let (groups, sets) = (0..8_u32, 0..256_u32);
    let is_in = |set: u32, group: u32| (set >> group) & 1 == 1;
    let mut stored = Vec::new();
    for set in sets.clone() {
        stored.push(("user", format!("u{set}"), json!({"role": "USER"})));
    }
    for group in groups.clone() {
        let members = sets.clone().filter(|set| is_in(*set, group)).map(|set| format!("u{set}"));
        stored.push(("group", format!("g{group}"), json!({"members": members.collect::<Vec<_>>()})));
        let bindings = json!([
            {"role": "view", "resource": "servers", "name": format!("s{group}")},
            {"role": "edit", "resource": "prompts", "project": format!("p{group}")}]);
        let subjects = json!([{"kind": "Group", "name": format!("g{group}")}]);
        stored.push(("rbac", format!("r{group}"), json!({"subjects": subjects, "roleBindings": bindings})));
    }
    let policy = Policy::new(stored.iter().map(|(kind, name, spec)| (*kind, name.as_str(), spec)), NOW);
    for (set, group) in sets.flat_map(|set| groups.clone().map(move |group| (set, group))) {
        let principal = principal(PrincipalKind::User, &format!("u{set}"));
        let (server, project) = (format!("s{group}"), format!("p{group}"));
        for (verb, noun, name, project) in [
            (Verb::View, "servers", server.as_str(), None),
            (Verb::Edit, "prompts", "x", Some(project.as_str())),
        ] {
            let action = Action::Manage { verb, noun, name: Some(name), project };
            let expect = is_in(set, group);
            assert_eq!(may(&policy, &principal, action), expect, "{set:b} {action:?}");
            assert_eq!(
                policy.scope(&principal, verb, noun).shows(name, project),
                expect,
                "{set:b} {action:?}"
            );
        }
        let edit = Action::Manage { verb: Verb::Edit, noun: "servers", name: Some(&server), project: None };
        assert!(!may(&policy, &principal, edit), "{set:b}");
    }
}

#[test]
fn only_accounts_are_granted_anything_and_administrators_need_no_rule() {
    let everything = json!({"role": "edit", "resource": "*"});
    let rules: Vec<Value> = OPERATIONS
        .iter()
        .map(|(word, _)| json!({"role": "run", "action": word}))
        .chain([everything])
        .flat_map(|binding| ["User", "ServiceAccount", "Group"].map(|kind| rule(kind, "ann", &binding)))
        .collect();
    let policy = policy(&rules);
    let manage = |noun| Action::Manage { verb: Verb::View, noun, name: None, project: None };
    for kind in [PrincipalKind::Anonymous, PrincipalKind::Token, PrincipalKind::Metrics, PrincipalKind::Local]
    {
        let principal = principal(kind, "ann");
        assert!(nouns().all(|noun| !may(&policy, &principal, manage(noun))), "{kind:?}");
        assert!(OPERATIONS.iter().all(|(_, it)| !may(&policy, &principal, Action::Operate(*it))), "{kind:?}");
        assert!(!may(&policy, &principal, Action::ManageTokens));
    }
    let admin = principal(PrincipalKind::Admin, "x");
    let none = Policy::default();
    assert!(
        nouns()
            .all(|noun| may(&none, &admin, manage(noun))
                && none.scope(&admin, Verb::Edit, noun) == Visible::All)
    );
    assert!(OPERATIONS.iter().all(|(_, it)| may(&none, &admin, Action::Operate(*it))));
    assert!(!may(&none, &admin, manage("everything")) && !may(&none, &admin, manage("*")));
    let (ann, bob) = (principal(PrincipalKind::User, "ann"), principal(PrincipalKind::User, "bob"));
    assert!(may(&policy, &ann, Action::ManageTokens) && !may(&policy, &bob, Action::ManageTokens));
}

#[test]
fn an_account_is_what_it_is_whoever_says_so_and_until_it_is_over() {
    let everything = json!({"role": "view", "resource": "*"});
    let rules = [("User", "ci"), ("ServiceAccount", "ann"), ("User", "soon")]
        .map(|(kind, name)| rule(kind, name, &everything));
    let soon = json!({"expiresAt": "2027-01-15T08:00:01Z"});
    let mut stored = people();
    stored.push(("user", "soon", soon));
    let at = |now| {
        let stored = stored.iter().map(|(kind, name, spec)| (*kind, *name, spec));
        Policy::new(stored.chain(rules.iter().map(|spec| ("rbac", "r", spec))), now)
    };
    let sees = |policy: &Policy, name| {
        [PrincipalKind::User, PrincipalKind::ServiceAccount]
            .map(|kind| policy.scope(&principal(kind, name), Verb::View, "servers") != Visible::None)
    };
    // Rules for a person called `ci` and a program called `ann` are for nobody.
    assert_eq!([sees(&at(NOW), "ci"), sees(&at(NOW), "ann")], [[false; 2]; 2]);
    assert_eq!((sees(&at(NOW), "soon"), at(NOW).until_unix()), ([true; 2], Some(NOW + 1)));
    assert_eq!((sees(&at(NOW + 1), "soon"), at(NOW + 1).until_unix()), ([false; 2], None));
}

#[test]
fn tokens_are_managed_by_whoever_may_change_all_of_them() {
    let may_with = |binding: Value| {
        let policy = policy(&[rule("User", "ann", &binding)]);
        may(&policy, &principal(PrincipalKind::User, "ann"), Action::ManageTokens)
    };
    assert!(may_with(json!({"role": "edit", "resource": "tokens"})));
    assert!(!may_with(json!({"role": "view", "resource": "tokens"})));
    assert!(!may_with(json!({"role": "edit", "resource": "tokens", "name": "a"})));
}

fn some_rule() -> impl Strategy<Value = Value> {
    let subject = prop_oneof![
        Just(("User", "ann")),
        Just(("User", "bob")),
        Just(("ServiceAccount", "ci")),
        Just(("Group", "ops")),
        Just(("Group", "dev")),
        Just(("User", "eve")),
        Just(("ServiceAccount", "ann")),
        Just(("Group", "none")),
    ];
    let bindings = bindings();
    let binding = (0..bindings.len()).prop_map(move |at| bindings[at].clone());
    (proptest::collection::vec(subject, 0..3), proptest::collection::vec(binding, 0..4)).prop_map(
        |(subjects, bindings)| {
            let subjects: Vec<Value> =
                subjects.iter().map(|(kind, name)| json!({"kind": kind, "name": name})).collect();
            json!({"subjects": subjects, "roleBindings": bindings})
        },
    )
}

/// All that anybody may do.
fn everything(rules: &[Value]) -> BTreeSet<String> {
    let policy = policy(rules);
    let mut all = BTreeSet::new();
    for account in &ACCOUNTS {
        let principal = principal(account.1, account.0);
        for (verb, noun) in Verb::ALL.into_iter().flat_map(|verb| nouns().map(move |noun| (verb, noun))) {
            for name in [Some("a"), Some("b"), Some("c"), None] {
                for project in [None, Some("p"), Some("q")] {
                    let action = Action::Manage { verb, noun, name, project };
                    if may(&policy, &principal, action) {
                        all.insert(format!("{account:?} {action:?}"));
                    }
                }
            }
        }
        let operations =
            OPERATIONS.into_iter().filter(|(_, it)| may(&policy, &principal, Action::Operate(*it)));
        all.extend(operations.map(|(word, _)| format!("{account:?} {word}")));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn many_rules_grant_what_the_model_says(rules in proptest::collection::vec(some_rule(), 0..6)) {
        compare(&rules);
    }

    #[test]
    fn a_grant_more_never_allows_less_and_one_less_never_more(
        rules in proptest::collection::vec(some_rule(), 1..5),
        at in any::<proptest::sample::Index>(),
        bindings in any::<bool>(),
    ) {
        let mut fewer = rules.clone();
        let member = if bindings { "roleBindings" } else { "subjects" };
        let list = fewer[at.index(rules.len())][member].as_array_mut().unwrap();
        if list.is_empty() {
            fewer.remove(at.index(rules.len()));
        } else {
            list.remove(at.index(list.len()));
        }
        let (less, more) = (everything(&fewer), everything(&rules));
        prop_assert!(less.is_subset(&more), "{:?}", less.difference(&more).next());
    }
}
