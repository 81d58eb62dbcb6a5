//! How documents are put together: a patch into one (RFC 7396), and three into one.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::kinds::Descriptor;

/// Puts a patch into a document: null takes a member away, an object goes into the one that is there, all else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// What a resource becomes when somebody applies a document: what they want, without what they wanted last time and no longer
/// do, with all that others have put there. Without a last time, nothing is taken away.
///
/// All three are documents, or specs, without what the system says. Objects are merged by their members, [`NAMED`] lists by the
/// names of their entries, sets (`Descriptor::sets`) by their entries; every other list is one value. Of rules above all: what
/// an entry has as its `name` may be what it grants something on.
pub fn merge3(kind: &Descriptor, last: Option<&Value>, wanted: &Value, live: &Value) -> Value {
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else { return wanted.clone() };
    let last = last.and_then(Value::as_object);
    Value::Object(objects(last, wanted, live, Some(kind)))
}

type Members = Map<String, Value>;

/// Members of documents that are lists whose entries are known by their `name`.
const NAMED: [&str; 1] = ["env"];

/// How a list is merged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Set,
    Named,
    Whole,
}

impl Listing {
    /// That of a member; only those of a document itself are more than one value.
    fn of(top: Option<&Descriptor>, member: &str) -> Self {
        match top {
            Some(kind) if kind.sets.contains(&member) => Self::Set,
            Some(_) if NAMED.contains(&member) => Self::Named,
            _ => Self::Whole,
        }
    }
}

/// `top` is the kind where these are the members of a document itself.
fn objects(last: Option<&Members>, wanted: &Members, live: &Members, top: Option<&Descriptor>) -> Members {
    let mut merged = Members::new();
    for (name, value) in live {
        let was = last.and_then(|last| last.get(name));
        let listing = Listing::of(top, name);
        let kept = match wanted.get(name) {
            Some(wanted) => Some(values(was, wanted, value, listing)),
            None => was.map_or_else(|| Some(value.clone()), |was| left(was, value, listing)),
        };
        merged.extend(kept.map(|kept| (name.clone(), kept)));
    }
    for (name, value) in wanted {
        if !live.contains_key(name) {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// What others have put into something that was wanted last time and no longer is.
fn left(was: &Value, live: &Value, listing: Listing) -> Option<Value> {
    let empty = match live {
        Value::Object(_) => Value::Object(Members::new()),
        Value::Array(_) if listing != Listing::Whole => Value::Array(Vec::new()),
        _ => return None,
    };
    Some(values(Some(was), &empty, live, listing)).filter(|left| *left != empty)
}

fn values(last: Option<&Value>, wanted: &Value, live: &Value, listing: Listing) -> Value {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            Value::Object(objects(last.and_then(Value::as_object), wanted, live, None))
        }
        (Value::Array(wanted), Value::Array(live)) => {
            let none = Vec::new();
            let last = last.and_then(Value::as_array).unwrap_or(&none);
            let named = || Some(named((&names(last)?, &names(wanted)?, &names(live)?)));
            let merged = match listing {
                Listing::Set => Some(sets(last, wanted, live)),
                Listing::Named => named(),
                Listing::Whole => None,
            };
            Value::Array(merged.unwrap_or_else(|| wanted.clone()))
        }
        _ => wanted.clone(),
    }
}

/// What is wanted, in its order; if others added something, everything stays where it is, lest two that apply by turns change
/// the order for ever.
fn sets(last: &[Value], wanted: &[Value], live: &[Value]) -> Vec<Value> {
    let is_of_others = |entry: &&Value| !wanted.contains(entry) && !last.contains(entry);
    if !live.iter().any(|entry| is_of_others(&entry)) {
        return wanted.to_vec();
    }
    let stays = live.iter().filter(|entry| wanted.contains(entry) || is_of_others(entry));
    stays.chain(wanted.iter().filter(|entry| !live.contains(entry))).cloned().collect()
}

type Named<'a> = Vec<(&'a str, &'a Value)>;

/// The entries of a list by their names, if each has one and none is there twice.
fn names(list: &[Value]) -> Option<Named<'_>> {
    let mut seen = HashSet::new();
    list.iter()
        .map(|entry| entry.get("name")?.as_str().map(|name| (name, entry)))
        .map(|entry| entry.filter(|(name, _)| seen.insert(*name)))
        .collect()
}

fn named((last, wanted, live): (&Named<'_>, &Named<'_>, &Named<'_>)) -> Vec<Value> {
    let find = |list: &Named<'_>, name: &str| {
        list.iter().find(|(known, _)| *known == name).map(|(_, entry)| (*entry).clone())
    };
    let merged = |(name, entry): &(&str, &Value)| match find(live, name) {
        Some(there) => entry_of(find(last, name).as_ref(), entry, &there),
        None => (*entry).clone(),
    };
    let is_of_others = |name: &str| find(wanted, name).is_none() && find(last, name).is_none();
    if !live.iter().any(|(name, _)| is_of_others(name)) {
        return wanted.iter().map(merged).collect();
    }
    // As with sets.
    let stays =
        live.iter().filter_map(|(name, there)| match wanted.iter().find(|(known, _)| known == name) {
            Some(wanted) => Some(merged(wanted)),
            None => is_of_others(name).then(|| (*there).clone()),
        });
    stays.chain(wanted.iter().filter(|(name, _)| find(live, name).is_none()).map(merged)).collect()
}

/// An entry that is wanted replaces what is there, but for what others put beside. Where it says another way than what is there
/// (`value` for `valueFrom`), nothing of the old way is kept.
fn entry_of(last: Option<&Value>, wanted: &Value, live: &Value) -> Value {
    let ways = ["value", "valueFrom"];
    let mut live = live.clone();
    if let (Some(wanted), Some(live)) = (wanted.as_object(), live.as_object_mut())
        && ways.iter().any(|way| wanted.contains_key(*way))
    {
        live.retain(|name, _| !ways.contains(&name.as_str()) || wanted.contains_key(name));
    }
    values(last, wanted, &live, Listing::Whole)
}
