//! Bringing a resource back to what it was.

use hayward_api::kinds::{Descriptor, token};
use hayward_api::names::ResourceName;
use hayward_api::{Code, Error};

use super::Transaction;
use crate::error::StoreError;
use crate::history::{self, Snapshot};
use crate::list;
use crate::resource::{Actor, Desired, Key, Resource};

impl Transaction {
    /// Makes the resource of this name or uid what it was at a revision, values of secrets included. One that is
    /// deleted is made again, with another uid.
    #[expect(clippy::too_many_arguments, reason = "what is meant, when, and who says so")]
    pub async fn revert(
        &mut self,
        kind: &'static Descriptor,
        scope: Option<&str>,
        word: &str,
        revision: u64,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        self.flush().await?;
        let was = history::at(&mut self.tx, kind, scope, word, revision).await?;
        let spec = self.with_values_of(kind, &was, revision).await?;
        let scope = was.metadata.scope.as_ref().map(ResourceName::as_str);
        let mut desired = Desired::new(kind, scope, was.metadata.name.as_str(), spec);
        desired.labels.clone_from(&was.metadata.labels);
        desired.annotations.clone_from(&was.metadata.annotations);
        desired.owner.clone_from(&was.metadata.owner);
        let key = Key { kind, scope, name: was.metadata.name.as_str() };
        match list::get(&mut self.tx, &key).await? {
            Some(today) => self.change(today, &desired, was.metadata.owner, actor).await,
            None if kind.name == token::DESCRIPTOR.name => {
                let error = Error::new(
                    Code::Invalid,
                    "the secret of a deleted token is gone, and can't be brought back",
                );
                Err(StoreError::Invalid(error.with_hint("make a new token")))
            }
            None => self.create(&desired, actor).await,
        }
    }

    /// A resource as it was at a revision, before anything is reverted to it.
    pub async fn at(
        &mut self,
        kind: &'static Descriptor,
        scope: Option<&str>,
        word: &str,
        revision: u64,
    ) -> Result<Snapshot, StoreError> {
        self.flush().await?;
        history::at(&mut self.tx, kind, scope, word, revision).await
    }
}
