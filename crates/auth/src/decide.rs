//! May they: one pure function of who and what. No rule means no.
//!
//! Listing asks the same function as calling, so that what is listed is what may be called.
//! It reads no table and no clock; what it needs is in its arguments.

use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Tier};

use crate::policy::{Policy, Visible};
use crate::{Operation, Verb};

/// The toolset of this machine: what a token reaches that was let in nowhere else.
const HOST: &str = "host";

/// The highest tier that an account may use of what it was granted.
const ACCOUNT_CEILING: Tier = Tier::Operate;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// To see or use something that a server offers: a tool, a resource, a prompt.
    Use {
        /// The server that offers it.
        toolset: &'a str,
        /// The project in which it is met; none if it is met by itself.
        project: Option<&'a str>,
        /// Its name there.
        name: &'a str,
        /// How risky it is.
        tier: Tier,
    },
    /// To let others use a server, as by attaching it to a project.
    Share {
        /// The server.
        toolset: &'a str,
    },
    /// To look at resources, to change them, to use them.
    Manage {
        /// What is done.
        verb: Verb,
        /// The plural of their kind, or `audit`.
        noun: &'a str,
        /// The one that is meant; without a name: some of the kind, whichever.
        name: Option<&'a str>,
        /// The project that it is in.
        project: Option<&'a str>,
    },
    /// To do something to the whole system.
    Operate(Operation),
    /// To list, make or revoke any token.
    ManageTokens,
    /// To read what is counted.
    ReadMetrics,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny {
        /// Why not.
        reason: Reason,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Nobody showed a credential.
    #[error("no credential was shown")]
    NoCredential,
    /// The tool is riskier than the credential allows.
    #[error("the tool needs a credential that allows `{needs}`")]
    AboveCeiling {
        /// The tier of the tool.
        needs: Tier,
    },
    /// Only an administrator may.
    #[error("only an administrator may do this")]
    NotAdmin,
    /// The credential is bound to other tools.
    #[error("the credential is bound to other tools")]
    NotBoundTo,
    /// Only a token for metrics may.
    #[error("only a token for metrics may do this")]
    NotMetrics,
    /// The credential doesn't reach this toolset.
    #[error("the credential does not reach this toolset")]
    ToolsetNotGranted,
    /// No rule grants it.
    #[error("no rule grants this")]
    NotGranted,
}

/// Whether this principal may do this, by these rules.
pub fn decide(policy: &Policy, principal: &Principal, action: &Action<'_>) -> Decision {
    match objection(policy, principal, action) {
        None => Decision::Allow,
        Some(reason) => Decision::Deny { reason },
    }
}

fn objection(policy: &Policy, principal: &Principal, action: &Action<'_>) -> Option<Reason> {
    match *action {
        _ if principal.kind == PrincipalKind::Anonymous => Some(Reason::NoCredential),
        Action::Use { toolset, project, name, tier } => not_granted(policy, principal, toolset, project)
            .or_else(|| not_within(principal, (toolset, name), tier)),
        Action::Share { toolset } => {
            let may = principal.kind == PrincipalKind::Admin || runs(policy, principal, toolset, None);
            (!may).then_some(Reason::NotGranted)
        }
        Action::ReadMetrics => (principal.kind != PrincipalKind::Metrics).then_some(Reason::NotMetrics),
        Action::ManageTokens => {
            let may = policy.scope(principal, Verb::Edit, "tokens") == Visible::All;
            (!may).then_some(Reason::NotAdmin)
        }
        Action::Manage { verb, noun, name, project } => {
            let may = policy.allows(principal, (verb, noun), (name, project));
            (!may).then_some(Reason::NotGranted)
        }
        Action::Operate(operation) => {
            (!policy.allows_operation(principal, operation)).then_some(Reason::NotGranted)
        }
    }
}

/// What speaks against reaching a server.
fn not_granted(
    policy: &Policy,
    principal: &Principal,
    toolset: &str,
    project: Option<&str>,
) -> Option<Reason> {
    let is_granted = match principal.kind {
        PrincipalKind::Local => true,
        // One that was let in somewhere is no key of this machine as well, unless that was named, too.
        PrincipalKind::Token if principal.reach.is_none() => toolset == HOST,
        PrincipalKind::Token => principal.reach.has(toolset, project),
        PrincipalKind::User | PrincipalKind::ServiceAccount => {
            let by_project = project.is_some_and(|project| {
                policy.allows(principal, (Verb::Run, "projects"), (Some(project), None))
            });
            by_project || runs(policy, principal, toolset, project)
        }
        PrincipalKind::Anonymous | PrincipalKind::Admin | PrincipalKind::Metrics => false,
    };
    (!is_granted).then_some(Reason::ToolsetNotGranted)
}

/// Whether rules let an account use this server by itself. Who may use all servers that are declared was not thereby let in to the
/// machine that runs them.
fn runs(policy: &Policy, principal: &Principal, toolset: &str, project: Option<&str>) -> bool {
    if toolset == HOST {
        return policy.allows_by_name(principal, (Verb::Run, "servers"), toolset);
    }
    policy.allows(principal, (Verb::Run, "servers"), (Some(toolset), project))
}

/// What speaks against using something of a server that is reached.
fn not_within(principal: &Principal, (toolset, name): (&str, &str), tier: Tier) -> Option<Reason> {
    let ceiling = match principal.kind {
        PrincipalKind::User | PrincipalKind::ServiceAccount => Some(ACCOUNT_CEILING),
        PrincipalKind::Local
        | PrincipalKind::Token
        | PrincipalKind::Anonymous
        | PrincipalKind::Admin
        | PrincipalKind::Metrics => principal.ceiling,
    };
    if ceiling.is_none_or(|ceiling| tier > ceiling) {
        return Some(Reason::AboveCeiling { needs: tier });
    }
    let server = (toolset != HOST).then_some(toolset);
    (!principal.bounds.may_use(server, name)).then_some(Reason::NotBoundTo)
}

#[cfg(test)]
mod tests {
    use hayward_api::Bounds;
    use hayward_api::fence::tools::ToolPattern;

    use super::*;

    const KINDS: [PrincipalKind; 7] = [
        PrincipalKind::Anonymous,
        PrincipalKind::Token,
        PrincipalKind::Admin,
        PrincipalKind::Metrics,
        PrincipalKind::Local,
        PrincipalKind::User,
        PrincipalKind::ServiceAccount,
    ];
    const CEILINGS: [Option<Tier>; 4] = [None, Some(Tier::Read), Some(Tier::Operate), Some(Tier::Danger)];

    fn principal(kind: PrincipalKind, ceiling: Option<Tier>) -> Principal {
        Principal { kind, ceiling, ..Principal::local("x", Tier::Read) }
    }

    fn call(toolset: &str, tier: Tier) -> Action<'_> {
        Action::Use { toolset, project: None, name: "t", tier }
    }

    fn actions() -> Vec<Action<'static>> {
        let calls = Tier::ALL.into_iter().flat_map(|tier| [call("host", tier), call("ops", tier)]);
        calls.chain([Action::ManageTokens, Action::ReadMetrics]).collect()
    }

    fn is_allowed(principal: &Principal, action: &Action<'_>) -> bool {
        decide(&Policy::default(), principal, action) == Decision::Allow
    }

    /// One line for each kind and ceiling; columns: host and another toolset at read, operate,
    /// danger; tokens; metrics. `+` is yes; other letters are the first of why not.
    const TABLE: &str = "
        anonymous none     N N N  N N N  N  N
        anonymous read     N N N  N N N  N  N
        anonymous operate  N N N  N N N  N  N
        anonymous danger   N N N  N N N  N  N
        token     none     C C C  T T T  A  M
        token     read     + C C  T T T  A  M
        token     operate  + + C  T T T  A  M
        token     danger   + + +  T T T  A  M
        admin     none     T T T  T T T  +  M
        admin     read     T T T  T T T  +  M
        admin     operate  T T T  T T T  +  M
        admin     danger   T T T  T T T  +  M
        metrics   none     T T T  T T T  A  +
        metrics   read     T T T  T T T  A  +
        metrics   operate  T T T  T T T  A  +
        metrics   danger   T T T  T T T  A  +
        local     none     C C C  C C C  A  M
        local     read     + C C  + C C  A  M
        local     operate  + + C  + + C  A  M
        local     danger   + + +  + + +  A  M
        user      none     T T T  T T T  A  M
        user      read     T T T  T T T  A  M
        user      operate  T T T  T T T  A  M
        user      danger   T T T  T T T  A  M
        account   none     T T T  T T T  A  M
        account   read     T T T  T T T  A  M
        account   operate  T T T  T T T  A  M
        account   danger   T T T  T T T  A  M
    ";

    fn letter(decision: Decision, tier: Option<Tier>) -> &'static str {
        match decision {
            Decision::Allow => "+",
            Decision::Deny { reason: Reason::NoCredential } => "N",
            Decision::Deny { reason: Reason::NotAdmin } => "A",
            Decision::Deny { reason: Reason::NotMetrics } => "M",
            Decision::Deny { reason: Reason::ToolsetNotGranted } => "T",
            Decision::Deny { reason: Reason::NotBoundTo } => "B",
            Decision::Deny { reason: Reason::NotGranted } => "R",
            Decision::Deny { reason: Reason::AboveCeiling { needs } } => {
                assert_eq!(Some(needs), tier);
                "C"
            }
        }
    }

    #[test]
    fn bounds_take_away_and_give_nothing() {
        let bounds = Bounds { tools: vec![ToolPattern::parse("read_*").unwrap()], ..Bounds::default() };
        let bound = |kind, ceiling| Principal { bounds: bounds.clone(), ..principal(kind, ceiling) };
        let letters = |principal: &Principal| {
            ["read_file", "grep"].map(|name| {
                let action = Action::Use { toolset: "host", project: None, name, tier: Tier::Operate };
                letter(decide(&Policy::default(), principal, &action), Some(Tier::Operate))
            })
        };
        assert_eq!(letters(&bound(PrincipalKind::Token, Some(Tier::Operate))), ["+", "B"]);
        assert_eq!(letters(&bound(PrincipalKind::Local, Some(Tier::Danger))), ["+", "B"]);
        assert_eq!(letters(&bound(PrincipalKind::Token, Some(Tier::Read))), ["C", "C"]);
        assert_eq!(letters(&bound(PrincipalKind::Anonymous, None)), ["N", "N"]);
        assert_eq!(letters(&bound(PrincipalKind::Admin, None)), ["T", "T"]);
    }

    #[test]
    fn every_kind_ceiling_and_action_is_decided_as_the_table_says() {
        let lines: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().skip(2).collect())
            .filter(|cells: &Vec<&str>| !cells.is_empty())
            .collect();
        let principals: Vec<Principal> =
            KINDS.iter().flat_map(|kind| CEILINGS.map(|ceiling| principal(*kind, ceiling))).collect();
        assert_eq!(lines.len(), principals.len());
        for (principal, line) in principals.iter().zip(lines) {
            let mut row: Vec<&str> = Vec::new();
            for toolset in ["host", "ops"] {
                for tier in Tier::ALL {
                    row.push(letter(decide(&Policy::default(), principal, &call(toolset, tier)), Some(tier)));
                }
            }
            row.push(letter(decide(&Policy::default(), principal, &Action::ManageTokens), None));
            row.push(letter(decide(&Policy::default(), principal, &Action::ReadMetrics), None));
            assert_eq!(row, line, "{principal:?}");
        }
    }

    #[test]
    fn raising_a_ceiling_takes_nothing_away_and_lowering_it_gives_nothing() {
        for kind in KINDS {
            for pair in CEILINGS.windows(2) {
                let (low, high) = (principal(kind, pair[0]), principal(kind, pair[1]));
                for action in actions() {
                    assert!(!is_allowed(&low, &action) || is_allowed(&high, &action), "{action:?}");
                }
            }
        }
    }

    #[test]
    fn a_riskier_tool_is_never_easier_to_reach() {
        for (kind, ceiling) in KINDS.iter().flat_map(|kind| CEILINGS.map(|c| (*kind, c))) {
            let principal = principal(kind, ceiling);
            for (toolset, tiers) in
                ["host", "ops"].iter().flat_map(|t| Tier::ALL.windows(2).map(move |w| (*t, w)))
            {
                let [low, high] = [call(toolset, tiers[0]), call(toolset, tiers[1])];
                assert!(!is_allowed(&principal, &high) || is_allowed(&principal, &low));
            }
        }
    }

    /// Rules that let `u@x.org` use this.
    fn rules(bindings: &serde_json::Value) -> Policy {
        let user = serde_json::json!({});
        let rule = serde_json::json!({
            "subjects": [{"kind": "User", "name": "u@x.org"}], "roleBindings": bindings});
        Policy::new([("user", "u@x.org", &user), ("rbac", "r", &rule)], 0)
    }

    fn met(toolset: &'static str, project: Option<&'static str>, tier: Tier) -> Action<'static> {
        Action::Use { toolset, project, name: "t", tier }
    }

    #[test]
    fn an_account_uses_what_rules_let_it_run_and_up_to_operate() {
        let user = Principal { name: "u@x.org".to_owned(), ..principal(PrincipalKind::User, None) };
        let may = |bindings: serde_json::Value, action: &Action<'_>| {
            decide(&rules(&bindings), &user, action) == Decision::Allow
        };
        let of = |resource: &str, name: Option<&str>| serde_json::json!([{"role": "run", "resource": resource, "name": name}]);
        for (bindings, toolset, project, expected) in [
            (of("servers", None), "ha", None, true),
            (of("servers", None), "ha", Some("p"), true),
            (of("servers", None), "host", None, false),
            (of("servers", Some("host")), "host", None, true),
            (of("servers", Some("ha")), "ha", Some("p"), true),
            (of("servers", Some("ha")), "hb", None, false),
            (of("projects", Some("p")), "ha", Some("p"), true),
            (of("projects", Some("p")), "host", Some("p"), true),
            (of("projects", Some("p")), "ha", Some("q"), false),
            (of("projects", Some("p")), "ha", None, false),
            (serde_json::json!([{"role": "edit", "resource": "*"}]), "ha", None, false),
            (serde_json::json!([]), "ha", Some("p"), false),
        ] {
            let action = met(toolset, project, Tier::Operate);
            assert_eq!(may(bindings.clone(), &action), expected, "{bindings} {toolset} {project:?}");
            assert!(
                !may(bindings, &met(toolset, project, Tier::Danger)),
                "{toolset}: a person approves that"
            );
        }
    }

    #[test]
    fn a_server_is_shared_by_whoever_may_use_it_and_this_machine_by_whoever_a_rule_names_it_to() {
        let user = Principal { name: "u@x.org".to_owned(), ..principal(PrincipalKind::User, None) };
        let of = |role: &str, resource: &str, name: Option<&str>, project: Option<&str>| serde_json::json!([{"role": role, "resource": resource, "name": name, "project": project}]);
        for (bindings, toolset, expected) in [
            (of("run", "servers", None, None), "ha", true),
            (of("run", "servers", Some("ha"), None), "ha", true),
            (of("run", "servers", Some("hb"), None), "ha", false),
            (of("run", "servers", None, Some("p")), "ha", false),
            (of("run", "projects", None, None), "ha", false),
            (of("edit", "*", None, None), "ha", false),
            (of("run", "*", None, None), "ha", true),
            (of("run", "*", None, None), "host", false),
            (of("run", "servers", Some("host"), None), "host", true),
        ] {
            let decision = decide(&rules(&bindings), &user, &Action::Share { toolset });
            assert_eq!(decision == Decision::Allow, expected, "{bindings} {toolset}");
        }
        for kind in KINDS {
            let decision = |toolset| {
                decide(&Policy::default(), &principal(kind, Some(Tier::Danger)), &Action::Share { toolset })
            };
            let expected = kind == PrincipalKind::Admin;
            assert_eq!(["ha", "host"].map(|it| decision(it) == Decision::Allow), [expected; 2], "{kind:?}");
        }
    }

    #[test]
    fn a_token_reaches_what_it_was_let_in_to_within_its_role() {
        let reach = hayward_api::Reach { servers: vec!["ha".to_owned()], projects: vec!["p".to_owned()] };
        let token = Principal { reach, ..principal(PrincipalKind::Token, Some(Tier::Read)) };
        for (toolset, project, tier, expected) in [
            ("ha", None, Tier::Read, true),
            ("ha", None, Tier::Operate, false),
            ("hb", Some("p"), Tier::Read, true),
            ("hb", Some("q"), Tier::Read, false),
            ("host", None, Tier::Read, false),
            ("host", Some("q"), Tier::Read, false),
            ("host", Some("p"), Tier::Read, true),
        ] {
            let is_allowed = is_allowed(&token, &met(toolset, project, tier));
            assert_eq!(is_allowed, expected, "{toolset} {project:?} {tier:?}");
        }
        let reach =
            hayward_api::Reach { servers: vec!["ha".to_owned(), "host".to_owned()], projects: Vec::new() };
        let token = Principal { reach, ..token };
        assert!(["ha", "host"].iter().all(|toolset| is_allowed(&token, &call(toolset, Tier::Read))));
        let token = Principal { reach: hayward_api::Reach::default(), ..token };
        assert_eq!(
            ["ha", "host"].map(|toolset| is_allowed(&token, &call(toolset, Tier::Read))),
            [false, true]
        );
    }

    #[test]
    fn a_toolset_is_granted_by_its_exact_name() {
        let token = principal(PrincipalKind::Token, Some(Tier::Danger));
        for toolset in ["", "Host", "host ", "hosts", "host/ops"] {
            assert!(!is_allowed(&token, &call(toolset, Tier::Read)), "{toolset:?}");
        }
    }
}
