//! Tests of documents: what is written is read, what is read is shown, and what is shown is written again.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::kinds::{group, project, prompt, samples, secret, server, serverattachment, template, user};
use crate::metadata::Metadata;
use crate::names::ResourceName;

fn metadata(document: &Document) -> Metadata {
    Metadata {
        uid: "0190-uid".to_owned(),
        name: ResourceName::parse(document.name.clone()).unwrap(),
        scope: document.project.clone().map(|name| ResourceName::parse(name).unwrap()),
        generation: 2,
        resource_version: 57,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        updated_at: "2026-01-02T00:00:00Z".to_owned(),
        labels: document.labels.clone(),
        annotations: document.annotations.clone(),
        owner: Some("0190-owner".to_owned()),
    }
}

#[test]
fn a_document_of_every_kind_goes_round_and_stays_what_it_is() {
    for kind in KINDS {
        let written = samples::sample(kind);
        let document = read(kind, written.clone()).unwrap_or_else(|error| panic!("{}: {error:?}", kind.name));
        let status = json!({"conditions": []});
        let mut shown = show(kind, &metadata(&document), document.spec.clone(), Some(status.clone()));
        assert_eq!(shown["status"], status, "{}", kind.name);
        let again = read(kind, shown.clone()).unwrap();
        assert_eq!(
            (&again.spec, &again.name, &again.labels),
            (&document.spec, &document.name, &document.labels)
        );
        assert_eq!(again.id.as_deref(), Some("0190-uid"));
        strip(kind, &mut shown);
        assert_eq!(shown, written, "{}", kind.name);
        assert_eq!(read(kind, shown).unwrap(), document, "{}", kind.name);
        assert_eq!((kind.read)(document.spec.clone()).unwrap().to_string(), document.spec.to_string());
    }
}

#[test]
fn a_number_as_a_label_is_told_to_want_quotes() {
    for (label, hint) in
        [(json!(1), "put it in quotes: `\"1\"`"), (json!(true), "put it in quotes: `\"true\"`")]
    {
        let document = json!({"name": "s", "packageName": "x", "labels": {"a": label}});
        let error = read(&server::DESCRIPTOR, document).unwrap_err();
        assert_eq!((error.field.as_deref(), error.hint.as_deref()), (Some("labels.a"), Some(hint)));
        assert!(error.message.starts_with("`labels.a`: it must be a text, and is "), "{}", error.message);
    }
    let error = read(&server::DESCRIPTOR, json!({"name": "s", "labels": {"a": "b c"}})).unwrap_err();
    assert!(error.message.contains("no such text"), "{}", error.message);
}

#[test]
fn a_member_of_a_kind_without_any_is_unknown_as_everywhere() {
    let document = json!({"server": "ha", "project": "home", "note": "x"});
    let error = read(&serverattachment::DESCRIPTOR, document).unwrap_err();
    assert_eq!(error.message, "unknown member `note`");
    assert_eq!(error.hint.as_deref(), Some("there are: server, project, labels, annotations"));
}

#[test]
fn what_is_written_as_text_is_what_is_shown_as_a_value() {
    for kind in KINDS {
        let document = read(kind, samples::sample(kind)).unwrap();
        let whole = metadata(&document);
        let bare = Metadata {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            updated_at: String::new(),
            owner: None,
            ..whole.clone()
        };
        let noted =
            Metadata { annotations: BTreeMap::from([("a".into(), "\"\u{1f}{é}".into())]), ..whole.clone() };
        let status = Some(json!({"conditions": [{"type": "A"}]}));
        for meta in [whole, bare, noted] {
            for (spec, status) in [(document.spec.clone(), status.clone()), (json!({}), None)] {
                let shown = show(kind, &meta, spec.clone(), status.clone());
                let text = |value: Value| value.to_string();
                let (labels, notes) = (text(json!(meta.labels)), text(json!(meta.annotations)));
                let (spec, status) = (text(spec), status.map(text));
                let parts = Parts {
                    name: meta.name.as_str(),
                    project: meta.scope.as_ref().map(ResourceName::as_str),
                    labels: Some(labels.as_str()).filter(|it| *it != "{}"),
                    annotations: Some(notes.as_str()).filter(|it| *it != "{}"),
                    spec: &spec,
                    uid: &meta.uid,
                    generation: meta.generation,
                    version: meta.resource_version,
                    created_at: &meta.created_at,
                    updated_at: &meta.updated_at,
                    owner: meta.owner.as_deref(),
                    status: status.as_deref(),
                };
                let mut written = b"before".to_vec();
                write(kind, parts, None, &mut written).unwrap();
                assert_eq!(String::from_utf8(written).unwrap(), format!("before{shown}"), "{}", kind.name);
                let each = shown.as_object().unwrap().keys().map(|one| vec![one.clone()]);
                let pairs =
                    shown.as_object().unwrap().keys().map(|one| vec![one.clone(), "status".to_owned()]);
                for only in each.chain(pairs) {
                    let mut written = Vec::new();
                    write(kind, parts, Some(&only), &mut written).unwrap();
                    let mut expect = shown.clone();
                    let is_meant = |member: &str| {
                        [kind.identity, "project"].contains(&member) || only.iter().any(|it| it == member)
                    };
                    expect.as_object_mut().unwrap().retain(|member, _| is_meant(member));
                    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expect, "{}", kind.name);
                }
            }
        }
    }
}

#[test]
fn a_sample_says_every_member_of_its_kind() {
    for kind in KINDS {
        let mut said = samples::spec(kind);
        // What can't be said together: another way to start, an account of a role, a password of a program.
        let apart: &[&str] = match kind.name {
            "server" => &["packageName", "runtime", "externalUrl", "headers", "oauth"],
            "template" => &[
                "dockerImage",
                "command",
                "externalUrl",
                "headers",
                "containerPort",
                "resources",
                "auditLevel",
                "network",
                "mounts",
                "sharing",
                "era",
                "trust",
                "timeoutSeconds",
                "idleSeconds",
                "tools",
                "oauth",
            ],
            "token" => &["account"],
            "user" => &["serviceAccount"],
            _ => &[],
        };
        for member in apart {
            said[*member] = Value::Null;
        }
        for member in members(kind) {
            assert!(said.get(member).is_some(), "{}: {member}", kind.name);
        }
    }
}

#[test]
fn what_the_system_says_is_ignored_but_the_version_and_the_id() {
    let mut document = samples::sample(&server::DESCRIPTOR);
    for (member, value) in [
        ("id", json!("x")),
        ("generation", json!("nonsense")),
        ("version", json!(7)),
        ("createdAt", json!(1)),
        ("updatedAt", json!(null)),
        ("ownerId", json!({})),
        ("builtin", json!("perhaps")),
        ("status", json!([])),
        ("apiVersion", json!("hayward/v1")),
        ("kind", json!("Server")),
    ] {
        document[member] = value;
    }
    let read = read(&server::DESCRIPTOR, document).unwrap();
    assert_eq!((read.version, read.id.as_deref()), (Some(7), Some("x")));
    assert_eq!(
        read,
        Document {
            version: Some(7),
            id: Some("x".to_owned()),
            ..super::read(&server::DESCRIPTOR, samples::sample(&server::DESCRIPTOR)).unwrap()
        }
    );
}

#[test]
fn the_version_of_a_template_is_its_own() {
    let kind = &template::DESCRIPTOR;
    let document = read(kind, samples::sample(kind)).unwrap();
    assert_eq!(document.version, None);
    let shown = show(kind, &metadata(&document), document.spec.clone(), None);
    assert_eq!((&shown["version"], &shown["generation"]), (&json!("1.2.0"), &json!(2)));
}

#[test]
fn what_is_built_in_says_so_for_the_whole_system_only() {
    let kind = &prompt::DESCRIPTOR;
    let document = read(kind, json!({"name": "gate-instructions", "content": "x"})).unwrap();
    let mut meta = metadata(&document);
    assert_eq!(show(kind, &meta, document.spec.clone(), None)["builtin"], true);
    meta.scope = ResourceName::parse("home").ok();
    assert_eq!(show(kind, &meta, document.spec.clone(), None).get("builtin"), None);
}

#[test]
fn what_is_wrong_is_told_with_its_path_and_what_was_meant() {
    for (kind, document, field, hint) in [
        (&server::DESCRIPTOR, json!([]), "", "write e.g."),
        (&server::DESCRIPTOR, json!({"command": ["x"]}), "name", "every server has one"),
        (&server::DESCRIPTOR, json!({"name": 1}), "name", ""),
        (&server::DESCRIPTOR, json!({"name": "a b", "command": ["x"]}), "name", "use 1 to 100"),
        (
            &server::DESCRIPTOR,
            json!({"name": "a", "command": ["x"], "label": {}}),
            "label",
            "did you mean `labels`?",
        ),
        (&server::DESCRIPTOR, json!({"name": "a", "comand": ["x"]}), "comand", "did you mean `command`?"),
        (&server::DESCRIPTOR, json!({"name": "a", "project": "p"}), "project", "leave it out"),
        (&server::DESCRIPTOR, json!({"name": "a", "kind": "secret"}), "kind", ""),
        (&server::DESCRIPTOR, json!({"name": "a", "apiVersion": "v2"}), "apiVersion", "write hayward/v1"),
        (
            &server::DESCRIPTOR,
            json!({"name": "a", "command": ["x"], "version": "new"}),
            "version",
            "leave it out",
        ),
        (&server::DESCRIPTOR, json!({"name": "a", "labels": {"a": 1}}), "labels.a", "put it in quotes"),
        (&server::DESCRIPTOR, json!({"name": "a", "labels": {"a b": "c"}}), "labels", "use up to"),
        (&server::DESCRIPTOR, json!({"name": "a", "labels": {"a": "b=c"}}), "labels.a", "values of labels"),
        (&server::DESCRIPTOR, json!({"name": "a", "annotations": ["a"]}), "annotations", ""),
        (&serverattachment::DESCRIPTOR, json!({"server": "a"}), "project", "belongs to one"),
        (&serverattachment::DESCRIPTOR, json!({"project": "a"}), "server", "every serverattachment"),
        (&user::DESCRIPTOR, json!({"email": "a b"}), "email", "address of mail"),
    ] {
        let error = read(kind, document.clone()).unwrap_err();
        assert_eq!(error.field.clone().unwrap_or_default(), field, "{document}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{error:?}");
    }
    let labels: Map<String, Value> = (0..99).map(|at| (format!("l{at}"), json!("x"))).collect();
    let error = read(&server::DESCRIPTOR, json!({"name": "a", "labels": labels})).unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
}

#[test]
fn a_patch_changes_what_it_names_and_neither_name_nor_project() {
    let kind = &prompt::DESCRIPTOR;
    let document = read(kind, samples::sample(kind)).unwrap();
    let current = show(kind, &metadata(&document), document.spec.clone(), None);
    let patched =
        patch(kind, &current, &json!({"priority": 1, "summary": null, "labels": {"a": "b"}})).unwrap();
    assert_eq!((&patched.spec["priority"], patched.spec.get("summary")), (&json!(1), None));
    assert_eq!(
        (patched.labels["a"].as_str(), patched.version, &patched.spec["link"]),
        ("b", None, &document.spec["link"])
    );
    assert_eq!(patch(kind, &current, &json!({"version": 57})).unwrap().version, Some(57));
    for (bad, field) in [
        (json!({"name": "other"}), "name"),
        (json!({"project": null}), "project"),
        (json!({"priority": 99}), "priority"),
        (json!({"content": {"a": 1}}), "content"),
        (json!([]), ""),
    ] {
        assert_eq!(patch(kind, &current, &bad).unwrap_err().field.unwrap_or_default(), field, "{bad}");
    }
}

#[test]
fn a_patch_is_merged_as_rfc_7396_says() {
    for (mut target, patch, expect) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        merge(&mut target, &patch);
        assert_eq!(target, expect, "{patch}");
    }
}

#[test]
fn applying_keeps_what_others_put_there_and_takes_away_what_is_no_longer_wanted() {
    let server = &server::DESCRIPTOR;
    let env = |pairs: &[(&str, &str)]| -> Value {
        pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    for (last, wanted, live, expect) in [
        // A member of others stays, one of ours that is gone goes, one that others changed and we want is ours.
        (json!({"a": 1, "b": 1}), json!({"a": 2}), json!({"a": 9, "b": 1, "c": 3}), json!({"a": 2, "c": 3})),
        (json!({}), json!({"a": 1}), json!({"b": 2}), json!({"b": 2, "a": 1})),
        (
            json!({"o": {"x": 1, "y": 1}}),
            json!({"o": {"x": 1}}),
            json!({"o": {"x": 1, "y": 1, "z": 1}}),
            json!({"o": {"x": 1, "z": 1}}),
        ),
        (json!({"o": {"x": 1}}), json!({}), json!({"o": {"x": 1, "z": 1}}), json!({"o": {"z": 1}})),
        (json!({"o": {"x": 1}}), json!({}), json!({"o": {"x": 1}}), json!({})),
        // Plain lists are one value.
        (json!({"args": ["a"]}), json!({"args": ["b"]}), json!({"args": ["a", "c"]}), json!({"args": ["b"]})),
        (json!({"args": ["a"]}), json!({}), json!({"args": ["a", "c"]}), json!({})),
        // Lists of things with names are merged by these.
        (
            json!({"env": env(&[("A", "1"), ("B", "1")])}),
            json!({"env": env(&[("A", "2"), ("D", "1")])}),
            json!({"env": env(&[("A", "1"), ("B", "1"), ("C", "3")])}),
            json!({"env": env(&[("A", "2"), ("C", "3"), ("D", "1")])}),
        ),
        (
            json!({"env": env(&[("A", "1")])}),
            json!({}),
            json!({"env": env(&[("A", "1"), ("C", "3")])}),
            json!({"env": env(&[("C", "3")])}),
        ),
        (
            json!({}),
            json!({"env": env(&[("A", "1")])}),
            json!({"env": [{"name": "A", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]}),
            json!({"env": env(&[("A", "1")])}),
        ),
    ] {
        assert_eq!(merge3(server, Some(&last), &wanted, &live), expect, "{last} {wanted} {live}");
    }
    let rule = |bindings: Value| json!({"name": "r", "roleBindings": bindings});
    let narrow = rule(json!([{"role": "view", "resource": "servers", "name": "y"}]));
    let wide = rule(json!([{"role": "edit", "resource": "servers", "name": "x"}]));
    let rbac = &crate::kinds::rbac::DESCRIPTOR;
    assert_eq!(merge3(rbac, None, &narrow, &wide), narrow, "a rule grants what is written, and no more");
    assert_eq!(merge3(server, None, &json!({"a": 1}), &json!({"a": 2, "b": 1})), json!({"a": 1, "b": 1}));
}

#[test]
fn entries_of_sets_are_merged_one_by_one() {
    for (kind, member) in [(&project::DESCRIPTOR, "servers"), (&group::DESCRIPTOR, "members")] {
        let with = |names: &[&str]| json!({ member: names });
        let merged = merge3(kind, Some(&with(&["a", "b"])), &with(&["b", "d"]), &with(&["a", "b", "c"]));
        assert_eq!(merged, with(&["b", "c", "d"]));
        assert_eq!(merge3(kind, None, &with(&["b", "a"]), &with(&["a", "b"])), with(&["b", "a"]));
        // Two that apply by turns come to rest.
        assert_eq!(merge3(kind, Some(&with(&["b"])), &with(&["b"]), &with(&["a", "b"])), with(&["a", "b"]));
        assert_eq!(merge3(kind, Some(&with(&["a"])), &with(&["a"]), &with(&["a", "b"])), with(&["a", "b"]));
        assert_eq!(merge3(kind, Some(&with(&["a"])), &json!({}), &with(&["a", "c"])), with(&["c"]));
        assert_eq!(merge3(kind, Some(&with(&["a"])), &json!({}), &with(&["a"])), json!({}));
    }
}

#[test]
fn what_is_applied_twice_changes_nothing_for_every_kind() {
    for kind in KINDS {
        let document = read(kind, samples::sample(kind)).unwrap();
        let (wanted, live) = (samples::sample(kind), samples::sample(kind));
        let merged = merge3(kind, Some(&wanted), &wanted, &live);
        assert_eq!(read(kind, merged.clone()).unwrap(), document);
        assert_eq!(merged.to_string(), live.to_string(), "{}", kind.name);
    }
}

#[test]
fn neither_errors_nor_debug_tell_a_secret() {
    for bad in [json!({"name": "s", "data": {"A": ["hush-hush"]}}), json!({"name": "s", "data": "hush-hush"})]
    {
        let error = read(&secret::DESCRIPTOR, bad).unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
    let document = read(&secret::DESCRIPTOR, json!({"name": "s", "data": {"A": "hush-hush"}})).unwrap();
    assert!(!format!("{document:?}").contains("hush"));
}

/// A document, with something changed somewhere.
fn shaken() -> impl Strategy<Value = (usize, Value)> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-zA-Z*.:-]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"name": "a", "value": "b"})),
    ];
    (0..KINDS.len(), proptest::collection::vec((any::<proptest::sample::Index>(), leaf), 0..4)).prop_map(
        |(at, changes)| {
            let mut document = samples::sample(KINDS[at]);
            for (place, value) in changes {
                let count = places(&mut document, &mut usize::MAX.clone(), &mut None);
                places(&mut document, &mut place.index(count.max(1)), &mut Some(value));
            }
            (at, document)
        },
    )
}

/// Counts the places in a value, and puts something into one of them.
fn places(value: &mut Value, left: &mut usize, put: &mut Option<Value>) -> usize {
    if *left == 0 {
        if let Some(put) = put.take() {
            *value = put;
        }
        return 1;
    }
    *left -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(entries) => entries.iter_mut().collect(),
        _ => Vec::new(),
    };
    1 + children
        .into_iter()
        .map(|child| if put.is_none() && *left == 0 { 0 } else { places(child, left, put) })
        .sum::<usize>()
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_canonical_and_whatever_is_not_is_refused_in_peace((at, document) in shaken()) {
        let kind = KINDS[at];
        if let Ok(read_once) = read(kind, document) {
            let meta = metadata(&read_once);
            let mut shown = show(kind, &meta, read_once.spec.clone(), None);
            strip(kind, &mut shown);
            let again = read(kind, shown).unwrap();
            prop_assert_eq!(again.spec.to_string(), read_once.spec.to_string());
            prop_assert_eq!(again.name, read_once.name);
            prop_assert!((kind.conditions)(&read_once.spec).len() < 10);
            prop_assert!((kind.references)(&read_once.spec).iter().all(|it| find(it.kind).is_some()));
        }
    }
}
