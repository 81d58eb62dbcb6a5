//! Making and changing resources.

use std::collections::BTreeMap;

use hayward_api::Metadata;
use hayward_api::kinds::Descriptor;
use hayward_api::kinds::token::{self, Role};
use hayward_api::metadata::API_VERSION;
use hayward_api::names::ResourceName;
use hayward_auth::password::PasswordHash;
use serde_json::json;
use uuid::Uuid;

use super::{Transaction, now};
use crate::error::StoreError;
use crate::history::ChangeKind;
use crate::limits::NOTES_BYTES;
use crate::list;
use crate::logins::EndLogins;
use crate::resource::{Actor, Desired, Key, Resource, checked_spec, invalid};
use crate::sealed::hidden;
use crate::sql::query;

impl Transaction {
    /// Stores a new resource.
    pub async fn create(&mut self, desired: &Desired<'_>, actor: &Actor) -> Result<Resource, StoreError> {
        let key = desired.key();
        key.check()?;
        check_notes(desired)?;
        check_reserved(desired)?;
        let spec = checked_spec(key.kind, &desired.spec)?;
        let uid = Uuid::now_v7().to_string();
        let (spec, values) = self.take_values((key.kind, key.name), spec, None).await?;
        let (at, revision) = (now(), self.next_revision());
        let name = |name: &str| ResourceName::parse(name).map_err(|error| invalid(error.to_string()));
        let resource = Resource {
            kind: key.kind.name.to_owned(),
            metadata: Metadata {
                uid,
                name: name(key.name)?,
                scope: key.scope.map(name).transpose()?,
                generation: 1,
                resource_version: revision.cast_unsigned(),
                created_at: at.clone(),
                updated_at: at,
                labels: desired.labels.clone(),
                annotations: desired.annotations.clone(),
                owner: desired.owner.clone(),
            },
            spec,
            applied: applied(key.kind, desired),
            status: None,
        };
        self.insert(&resource).await?;
        self.refer(key.kind, &resource);
        self.seal_values(&resource, values).await?;
        self.put_password(&resource.metadata.uid, desired.password.as_ref()).await?;
        self.remember(ChangeKind::Created, None, Some(&resource), actor);
        Ok(resource)
    }

    async fn insert(&mut self, resource: &Resource) -> Result<(), StoreError> {
        let metadata = &resource.metadata;
        let inserted = query(
            "INSERT INTO resources (uid, kind, scope, name, api_version, generation, resource_version, spec,
                                    created_at, updated_at, labels, annotations, owner, applied)
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        )
        .bind(&metadata.uid)
        .bind(&resource.kind)
        .bind(resource.scope_text())
        .bind(metadata.name.as_str())
        .bind(API_VERSION)
        .bind(metadata.resource_version)
        .bind(resource.spec.to_string())
        .bind(&metadata.created_at)
        .bind(json!(metadata.labels).to_string())
        .bind(json!(metadata.annotations).to_string())
        .bind(&metadata.owner)
        .bind(&resource.applied)
        .execute(&mut self.tx)
        .await
        .map_err(StoreError::at("create a resource"))?;
        if inserted == 0 {
            let (kind, name) = (resource.descriptor()?.name, metadata.name.to_string());
            return Err(StoreError::AlreadyExists { kind, name });
        }
        Ok(())
    }

    /// Changes a resource, if it is still at the version that is given. What is the same already changes nothing; a new
    /// password ends all logins of its user.
    pub async fn update(
        &mut self,
        key: &Key<'_>,
        precondition: Option<u64>,
        desired: &Desired<'_>,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let old = self.current(key, precondition).await?;
        let owner = desired.owner.clone().or_else(|| old.metadata.owner.clone());
        self.change(old, desired, owner, actor).await
    }

    /// Makes a resource what is desired, and gives it this owner or none.
    pub(super) async fn change(
        &mut self,
        old: Resource,
        desired: &Desired<'_>,
        owner: Option<String>,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let kind = desired.kind;
        check_notes(desired)?;
        let spec = checked_spec(kind, &desired.spec)?;
        let (spec, values) = self.take_values((kind, old.metadata.name.as_str()), spec, Some(&old)).await?;
        let is_new_password = self.put_password(&old.metadata.uid, desired.password.as_ref()).await?;
        let is_new_spec = spec != old.spec || values.is_some() || is_new_password;
        let mut new = Resource { spec, ..old.clone() };
        new.metadata.labels = desired.labels.clone();
        new.metadata.annotations = desired.annotations.clone();
        new.metadata.owner = owner;
        new.applied = applied(kind, desired).or(new.applied);
        if !is_new_spec && new.metadata == old.metadata {
            // What was applied is nobody's business but the next apply's.
            return self.replace(new, &old).await;
        }
        new.metadata.generation += u64::from(is_new_spec);
        new.metadata.updated_at = now();
        new.metadata.resource_version = self.next_revision().cast_unsigned();
        let new = self.replace(new, &old).await?;
        self.seal_values(&new, values).await?;
        self.refer_anew(kind, &old, &new).await?;
        self.move_end(&old, &new).await?;
        self.remember(ChangeKind::Updated, Some(&old), Some(&new), actor);
        let is_program = |user: &Resource| user.spec.get("serviceAccount") == Some(&true.into());
        let becomes_program = new.kind == "user" && is_program(&new) && !is_program(&old);
        if becomes_program {
            query("DELETE FROM passwords WHERE uid = $1")
                .bind(&new.metadata.uid)
                .execute(&mut self.tx)
                .await
                .map_err(StoreError::at("forget a password"))?;
        }
        if is_new_password || becomes_program {
            // Whoever knew the old one may be who it is changed for; and programs have tokens.
            self.delete_logins(EndLogins::OfUser(&new.metadata.uid), actor).await?;
        }
        Ok(new)
    }

    async fn replace(&mut self, new: Resource, old: &Resource) -> Result<Resource, StoreError> {
        if new == *old {
            return Ok(new);
        }
        let metadata = &new.metadata;
        query(
            "UPDATE resources SET spec = $2, generation = $3, resource_version = $4, updated_at = $5,
                                  labels = $6, annotations = $7, owner = $8, applied = $9
             WHERE uid = $1",
        )
        .bind(&metadata.uid)
        .bind(new.spec.to_string())
        .bind(metadata.generation)
        .bind(metadata.resource_version)
        .bind(&metadata.updated_at)
        .bind(json!(metadata.labels).to_string())
        .bind(json!(metadata.annotations).to_string())
        .bind(&metadata.owner)
        .bind(&new.applied)
        .execute(&mut self.tx)
        .await
        .map_err(StoreError::at("update a resource"))?;
        Ok(new)
    }

    /// The resource, if it is there and still at the version that is given.
    pub(super) async fn current(
        &mut self,
        key: &Key<'_>,
        precondition: Option<u64>,
    ) -> Result<Resource, StoreError> {
        let found = list::get(&mut self.tx, key).await?.ok_or_else(|| key.not_found())?;
        let current = found.metadata.resource_version;
        if precondition.is_some_and(|version| version != current) {
            let name = found.metadata.name.to_string();
            return Err(StoreError::Conflict { kind: key.kind.name, name, current });
        }
        Ok(found)
    }

    /// Keeps what a resource refers to.
    pub(super) fn refer(&mut self, kind: &Descriptor, resource: &Resource) {
        for reference in (kind.references)(&resource.spec) {
            self.refs.push([
                (&resource.metadata.uid).into(),
                reference.kind.into(),
                resource.scope_text().into(),
                reference.name.into(),
                reference.field.into(),
            ]);
        }
    }

    async fn refer_anew(
        &mut self,
        kind: &Descriptor,
        old: &Resource,
        new: &Resource,
    ) -> Result<(), StoreError> {
        if (kind.references)(&old.spec) == (kind.references)(&new.spec) {
            return Ok(());
        }
        // What this change itself keeps for the end must go as well.
        self.flush().await?;
        let gone =
            query("DELETE FROM refs WHERE uid = $1").bind(&new.metadata.uid).execute(&mut self.tx).await;
        gone.map_err(StoreError::at("write references"))?;
        self.refer(kind, new);
        Ok(())
    }

    /// Keeps the digest of a password; says whether there was one to keep.
    async fn put_password(&mut self, uid: &str, password: Option<&PasswordHash>) -> Result<bool, StoreError> {
        let Some(password) = password else { return Ok(false) };
        query(
            "INSERT INTO passwords (uid, digest) VALUES ($1, $2)
             ON CONFLICT (uid) DO UPDATE SET digest = excluded.digest",
        )
        .bind(uid)
        .bind(password.as_str())
        .execute(&mut self.tx)
        .await
        .map(|_| true)
        .map_err(StoreError::at("store a password"))
    }
}

fn check_notes(desired: &Desired<'_>) -> Result<(), StoreError> {
    let bytes = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    };
    let bytes = bytes(&desired.labels) + bytes(&desired.annotations);
    if bytes > NOTES_BYTES {
        return Err(invalid(format!("labels and annotations have {bytes} bytes: use up to {NOTES_BYTES}")));
    }
    Ok(())
}

/// The names of temporary tokens are refused: in the record, each name is to mean one token.
fn check_reserved(desired: &Desired<'_>) -> Result<(), StoreError> {
    let is_token = desired.kind.name == token::DESCRIPTOR.name;
    if is_token && Role::ALL.iter().any(|role| role.temporary_name() == desired.name) {
        return Err(StoreError::Reserved { name: desired.name.to_owned() });
    }
    Ok(())
}

/// What was applied, as it is kept.
fn applied(kind: &Descriptor, desired: &Desired<'_>) -> Option<String> {
    desired.applied.clone().map(|applied| hidden(kind, applied).to_string())
}
