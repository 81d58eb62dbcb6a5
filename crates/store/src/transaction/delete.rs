//! Deleting resources, with all that goes with them.

use std::collections::HashSet;

use hayward_api::kinds::Descriptor;
use hayward_api::names::ResourceName;
use serde_json::Value;

use super::Transaction;
use crate::error::StoreError;
use crate::history::ChangeKind;
use crate::list::from_rows;
use crate::raw::packed;
use crate::resource::{Actor, Desired, Key, Resource};
use crate::sql::query;

/// The kind whose resources others belong to.
const PROJECT: &str = "project";

/// What becomes of those that refer to what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// If any are left when the change is made, it is refused.
    Refuse,
    /// They lose what refers to it.
    Detach,
}

impl Transaction {
    /// Deletes a resource that is still at the version that is given, and returns what it was. With it go its credentials,
    /// its status, what it owns, and, if it is a project, what belongs to it. What is built in becomes as it was built.
    pub async fn delete(
        &mut self,
        key: &Key<'_>,
        precondition: Option<u64>,
        deletion: Deletion,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let found = self.current(key, precondition).await?;
        if let Some(spec) = builtin(key.kind, &found) {
            return self.reset(found, spec, actor).await;
        }
        let gone = self.with_dependents(found.clone()).await?;
        // What depends on others goes before them.
        for resource in gone.iter().rev() {
            self.remove(resource, actor).await?;
        }
        if deletion == Deletion::Detach {
            for resource in &gone {
                self.detach(resource, actor).await?;
            }
        }
        Ok(Resource {
            metadata: hayward_api::Metadata { resource_version: self.revision(), ..found.metadata },
            ..found
        })
    }

    /// Everything that goes with a resource when that is deleted.
    pub async fn dependents(&mut self, key: &Key<'_>) -> Result<Vec<Resource>, StoreError> {
        self.flush().await?;
        let found = self.current(key, None).await?;
        Ok(self.with_dependents(found).await?.split_off(1))
    }

    /// Every resource that refers to this one, which is still there, but for those that go with it.
    pub async fn referrers(&mut self, key: &Key<'_>) -> Result<Vec<Resource>, StoreError> {
        self.flush().await?;
        let found = self.current(key, None).await?;
        let rows = query(concat!(
            "SELECT ",
            packed!(),
            "FROM resources r WHERE r.uid IN (SELECT f.uid FROM refs f
                 WHERE f.kind = $1 AND f.name = $2 AND ($3 = '' OR f.scope = $3))
             AND COALESCE(r.owner, '') <> $4",
        ))
        .bind(&found.kind)
        .bind(found.metadata.name.as_str())
        .bind(found.scope_text())
        .bind(&found.metadata.uid)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("read references"))?;
        from_rows(&rows)
    }

    async fn reset(&mut self, found: Resource, spec: Value, actor: &Actor) -> Result<Resource, StoreError> {
        let kind = found.descriptor()?;
        let name = found.metadata.name.clone();
        let desired = Desired::new(kind, None, name.as_str(), spec);
        self.update(&desired.key(), None, &desired, actor).await
    }

    /// The resource, then what goes with it, whatever that takes with it in turn.
    async fn with_dependents(&mut self, first: Resource) -> Result<Vec<Resource>, StoreError> {
        let mut seen = HashSet::from([first.metadata.uid.clone()]);
        let mut gone = vec![first];
        let mut at = 0;
        while at < gone.len() {
            let project = if gone[at].kind == PROJECT { gone[at].metadata.name.as_str() } else { "" };
            let rows = query(concat!(
                "SELECT ",
                packed!(),
                "FROM resources r
                 WHERE r.uid IN (SELECT uid FROM resources WHERE owner = $1
                                 UNION ALL SELECT uid FROM resources WHERE $2 <> '' AND scope = $2)
                 ORDER BY r.kind, r.scope, r.name",
            ))
            .bind(&gone[at].metadata.uid)
            .bind(project)
            .fetch_all(&mut self.tx)
            .await
            .map_err(StoreError::at("list what goes with a resource"))?;
            let more = from_rows(&rows)?;
            gone.extend(more.into_iter().filter(|resource| seen.insert(resource.metadata.uid.clone())));
            at += 1;
        }
        Ok(gone)
    }

    async fn remove(&mut self, resource: &Resource, actor: &Actor) -> Result<(), StoreError> {
        self.flush().await?;
        query("DELETE FROM resources WHERE uid = $1")
            .bind(&resource.metadata.uid)
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::at("delete a resource"))?;
        self.has_deleted = true;
        self.next_revision();
        self.remember(ChangeKind::Deleted, Some(resource), None, actor);
        Ok(())
    }

    /// Takes out of the specs that refer to a resource that is gone what refers to it.
    async fn detach(&mut self, gone: &Resource, actor: &Actor) -> Result<(), StoreError> {
        self.flush().await?;
        let rows = query(concat!(
            "SELECT ",
            packed!(),
            "FROM resources r WHERE r.uid IN (SELECT f.uid FROM refs f
                 WHERE f.kind = $1 AND f.name = $2 AND ($3 = '' OR f.scope = $3)
                   AND NOT EXISTS (SELECT 1 FROM resources t
                                   WHERE t.kind = f.kind AND t.name = f.name AND t.scope IN ('', f.scope)))",
        ))
        .bind(&gone.kind)
        .bind(gone.metadata.name.as_str())
        .bind(gone.scope_text())
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("read references"))?;
        for referring in from_rows(&rows)? {
            let kind = referring.descriptor()?;
            let mut spec = referring.spec.clone();
            let references = (kind.references)(&spec);
            let meant = |reference: &&hayward_api::kinds::Reference| {
                reference.kind == gone.kind && reference.name == gone.metadata.name.as_str()
            };
            let mut fields: Vec<_> =
                references.iter().filter(meant).map(|found| path(&spec, &found.field)).collect();
            // From the end, so that places in lists stay what they are.
            fields.sort_by(|a, b| b.cmp(a));
            fields.dedup();
            for field in &fields {
                take_out(&mut spec, field);
            }
            let scope = referring.metadata.scope.as_ref().map(ResourceName::as_str);
            let mut desired = Desired::new(kind, scope, referring.metadata.name.as_str(), spec);
            desired.labels = referring.metadata.labels.clone();
            desired.annotations = referring.metadata.annotations.clone();
            let updated = self.update(&desired.key(), None, &desired, actor).await;
            updated.map_err(|error| match error {
                StoreError::Invalid(_) => {
                    let (kind, name) = (gone.kind.clone(), gone.metadata.name.to_string());
                    let by = format!("{} `{}`, which can't be without it", referring.kind, desired.name);
                    StoreError::Referred { kind, name, by }
                }
                error => error,
            })?;
        }
        Ok(())
    }
}

/// The spec of what is built in, if this is.
pub(crate) fn builtin(kind: &Descriptor, resource: &Resource) -> Option<Value> {
    let is_system = resource.metadata.scope.is_none();
    let mut known = (kind.builtins)().into_iter().filter(|_| is_system);
    known.find(|builtin| builtin.name == resource.metadata.name.as_str()).map(|builtin| builtin.spec)
}

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(String),
    Place(usize),
}

/// Up to what is to go: the innermost entry of a list, else the member itself. Less of an entry could leave something that says
/// more than before: a rule for one resource would become one for all.
fn path(spec: &Value, field: &str) -> Vec<Step> {
    let (mut steps, mut value, mut rest) = (Vec::new(), spec, field);
    while !rest.is_empty() {
        let Some((step, inner, further)) = step(value, rest) else { return Vec::new() };
        steps.push(step);
        (value, rest) = (inner, further);
    }
    if let Some(end) = steps.iter().rposition(|step| matches!(step, Step::Place(_))) {
        steps.truncate(end + 1);
    }
    steps
}

/// The first step of a path, what it leads to, and the rest. Members may have dots in their names: the longest that fits is meant.
fn step<'a, 'b>(value: &'a Value, path: &'b str) -> Option<(Step, &'a Value, &'b str)> {
    if let Some(rest) = path.strip_prefix('[') {
        let (place, rest) = rest.split_once(']')?;
        let place = place.parse().ok()?;
        return Some((Step::Place(place), value.get(place)?, rest.strip_prefix('.').unwrap_or(rest)));
    }
    let rest_of =
        |name: &str| path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let fitting = value.as_object()?.iter().filter_map(|(name, inner)| Some((name, inner, rest_of(name)?)));
    let (name, inner, rest) = fitting.max_by_key(|(name, ..)| name.len())?;
    Some((Step::Member(name.clone()), inner, rest.strip_prefix('.').unwrap_or(rest)))
}

fn take_out(value: &mut Value, path: &[Step]) {
    match path {
        [] => {}
        [Step::Member(name)] => {
            if let Some(members) = value.as_object_mut() {
                members.shift_remove(name);
            }
        }
        [Step::Place(place)] => {
            if let Some(entries) = value.as_array_mut().filter(|entries| *place < entries.len()) {
                entries.remove(*place);
            }
        }
        [Step::Member(name), rest @ ..] => {
            if let Some(inner) = value.get_mut(name) {
                take_out(inner, rest);
            }
        }
        [Step::Place(place), rest @ ..] => {
            if let Some(inner) = value.get_mut(*place) {
                take_out(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn without(mut spec: Value, field: &str) -> Value {
        let path = path(&spec, field);
        take_out(&mut spec, &path);
        spec
    }

    #[test]
    fn a_reference_goes_with_the_entry_that_it_stands_in() {
        let dotted = json!({"o": {"my.server": {"proxyModel": "p", "x": 1}, "my": {"server": {}}}});
        let rest = json!({"o": {"my.server": {"x": 1}, "my": {"server": {}}}});
        assert_eq!(without(dotted, "o.my.server.proxyModel"), rest);
        assert_eq!(without(json!({"a": 1}), "b.c"), json!({"a": 1}));
        assert_eq!(without(json!({"servers": ["a", "b"]}), "servers[0]"), json!({"servers": ["b"]}));
        assert_eq!(without(json!({"proxyModel": "x", "y": 1}), "proxyModel"), json!({"y": 1}));
        let env = json!({"env": [{"name": "A", "valueFrom": {"secretRef": {"name": "s"}}}, {"name": "B"}]});
        assert_eq!(without(env, "env[0].valueFrom.secretRef.name"), json!({"env": [{"name": "B"}]}));
        let rule = json!({"roleBindings": [{"role": "view", "resource": "servers", "name": "x"}]});
        assert_eq!(without(rule, "roleBindings[0].name"), json!({"roleBindings": []}));
        assert_eq!(without(json!({"a": {"b": 1}}), "a.b"), json!({"a": {}}));
        assert_eq!(without(json!({"a": []}), "a[3]"), json!({"a": []}));
    }
}
