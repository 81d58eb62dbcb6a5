//! Asking whether the caller of a request may, and recording it where not.

use std::sync::atomic::Ordering;

use hayward_api::kinds::Descriptor;
use hayward_api::names::is_uid;
use hayward_auth::{Operation, Verb};
use hayward_store::Resource;

use super::asked::Asked;
use crate::guarded::{Allowed, Denied, Guarded};
use crate::refusal::Refusal;

impl Asked {
    /// A refusal, recorded if it is a decision.
    pub(crate) async fn denied<T>(&self, decided: Result<T, Denied>) -> Result<T, Refusal> {
        match decided {
            Ok(proof) => Ok(proof),
            Err(Denied { error, decision }) => {
                if let Some((what, reason)) = decision {
                    self.noted.store(true, Ordering::Relaxed);
                    self.plane.record.denied(self.caller.clone(), what, reason).await;
                }
                Err(error.into())
            }
        }
    }

    /// Whoever is known.
    pub(crate) async fn known(&self) -> Result<(), Refusal> {
        self.denied(Guarded::known(&self.caller)).await
    }

    /// With some resources of the route's kind.
    pub(crate) async fn may_some(&self, verb: Verb) -> Result<Allowed, Refusal> {
        let kind = self.kind()?;
        self.denied(self.plane.guarded.some(&self.caller, verb, kind)).await
    }

    /// With what isn't a kind.
    pub(crate) async fn may_noun(&self, verb: Verb, noun: &'static str) -> Result<Allowed, Refusal> {
        self.denied(self.plane.guarded.noun(&self.caller, verb, noun)).await
    }

    /// An operation.
    pub(crate) async fn may_operate(&self, operation: Operation) -> Result<(), Refusal> {
        self.denied(self.plane.guarded.operation(&self.caller, operation)).await
    }

    /// With the resource of this name, which need not be there.
    pub(crate) async fn may_named(
        &self,
        verb: Verb,
        kind: &'static Descriptor,
        name: (&str, Option<&str>),
    ) -> Result<Allowed, Refusal> {
        self.denied(self.plane.guarded.named(&self.caller, verb, kind, name)).await
    }

    /// With the resource that this word means.
    pub(crate) async fn may_one(
        &self,
        verb: Verb,
        kind: &'static Descriptor,
        word: (&str, Option<&str>),
    ) -> Result<(Allowed, Resource), Refusal> {
        let decided = self.plane.guarded.one(&self.caller, verb, kind, word).await;
        self.denied(decided).await
    }

    /// The project that the query names. Whoever may see it, or something of the route's kind in it, is told that it is there.
    pub(crate) async fn project_there(&self, name: &str) -> Result<Resource, Refusal> {
        let guarded = &self.plane.guarded;
        self.denied(guarded.project_there(&self.caller, name, self.kind()?).await).await
    }

    /// The name of the server that a word means: an id stands for it, a name for itself.
    pub(crate) async fn server_name(&self, word: &str) -> Result<String, Refusal> {
        if !is_uid(word) {
            return Ok(word.to_owned());
        }
        let (_, server) = self.may_one(Verb::View, super::kind("server")?, (word, None)).await?;
        Ok(server.metadata.name.to_string())
    }

    /// With the resource of the route's kind that its path names.
    pub(crate) async fn may_this(&self, verb: Verb) -> Result<(Allowed, Resource), Refusal> {
        self.may_one(verb, self.kind()?, (self.part("id"), self.project())).await
    }
}
