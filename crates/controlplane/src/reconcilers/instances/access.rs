//! Access to servers that want OAuth: what was granted is taken from its secret, and what was renewed is put back.

use std::collections::HashMap;
use std::error::Error;

use hayward_api::definition::ValueFrom;
use hayward_api::kinds::secret;
use hayward_api::kinds::server::ServerSpec;
use hayward_runtime::Standing;
use hayward_runtime::grants::Declared;
use hayward_runtime::oauth::{Client, Grant};
use hayward_store::{Actor, Desired, Key, Store, StoreError, Values};
use serde_json::json;
use tokio::time::sleep;
use url::Url;

use super::Instances;
use super::status::ACCESS;
use super::values::of_secret;
use super::world::Problem;
use crate::limits::{GRANT_PAUSE, GRANT_TRIES};

/// A secret that holds what was granted: its name, its uid, its values.
type Granted = (String, String, Values);

impl Instances {
    /// Tells the fleet how access to a server is asked for, and what was granted; gives the id of the grant that is shown to it.
    pub(super) fn declare(
        &self,
        (name, spec): (&str, &ServerSpec),
        secrets: &HashMap<String, Values>,
        granted: Option<Granted>,
    ) -> Option<String> {
        let (grants, upstream) = (self.fleet.grants()?, address(spec)?);
        let oauth = spec.oauth.clone().unwrap_or_default();
        let client_secret = match oauth.client_secret {
            // What is missing is told when somebody asks for access.
            Some(ValueFrom { secret_ref }) => of_secret(&secret_ref, secrets).ok(),
            None => None,
        };
        let client = oauth.client_id.map(|id| Client::new(id, client_secret));
        let (grant, keeper) = match granted {
            Some((secret, uid, values)) => (read(&values, name), Keeper { secret, uid }),
            None => (None, Keeper::default()),
        };
        let id = grant.as_ref().map(|grant| grant.id().to_owned());
        let store = self.store.clone();
        let declared = Declared {
            upstream,
            known: oauth.issuer.clone().zip(client),
            issuer: oauth.issuer,
            scopes: oauth.scopes,
            document: oauth.client_document.as_deref().and_then(|document| Url::parse(document).ok()),
            grant,
            keep: std::sync::Arc::new(move |grant| Box::pin(keeper.clone().keep(store.clone(), grant))),
        };
        match grants.declare(name, declared) {
            Ok(()) => id,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    server = name,
                    "a grant isn't shown to its server"
                );
                None
            }
        }
    }

    /// What is in the way of access to a server.
    pub(super) fn access_to(&self, name: &str) -> Option<Problem> {
        let Standing { trouble, wants } = self.fleet.grants()?.standing(name)?;
        let hint = format!("hint: run `hayward authorize {name}`");
        let (reason, message) = match (trouble, wants) {
            (Some(why), Some(_)) => ("NotAuthorized", format!("{why}; {hint}")),
            (Some(why), None) => ("Revoked", format!("{why}; {hint}")),
            (None, Some(wants)) => {
                let scopes = wants.scopes.join(" ");
                (
                    "MoreScopesWanted",
                    format!("it wants to be allowed `{scopes}` for some of what it does; {hint}"),
                )
            }
            (None, None) => return None,
        };
        Some(Problem { kind: ACCESS, reason, message })
    }
}

/// Where a server is that may want access to be granted: elsewhere, and nothing said of what is shown to it.
pub(crate) fn address(spec: &ServerSpec) -> Option<Url> {
    let says = |name: &str| name.eq_ignore_ascii_case("authorization");
    let is_said = spec.headers.iter().any(|header| says(&header.name));
    Url::parse(spec.external_url.as_deref().filter(|_| !is_said)?).ok()
}

fn read(values: &Values, server: &str) -> Option<Grant> {
    let read = Grant::from_secret(|name| values.get(name).map(|value| value.as_str()));
    if let Err(error) = &read {
        tracing::warn!(%error, server, "what was granted for a server can't be read");
    }
    read.ok()
}

/// Puts what was renewed where the grant was.
#[derive(Clone, Default)]
struct Keeper {
    secret: String,
    uid: String,
}

impl Keeper {
    /// Tries again if the store doesn't answer: the old one may be worth nothing any more.
    async fn keep(self, store: Store, grant: Grant) {
        for _ in 0..GRANT_TRIES {
            match self.put(&store, &grant).await {
                Ok(()) => return,
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::error!(error, secret = self.secret, "a grant that was renewed isn't kept yet");
                }
            }
            sleep(GRANT_PAUSE).await;
        }
    }

    /// Unless somebody has granted another one meanwhile.
    async fn put(&self, store: &Store, grant: &Grant) -> Result<(), StoreError> {
        let key = Key::global(&secret::DESCRIPTOR, &self.secret);
        let kept = match store.get(&key).await {
            Ok(kept) if kept.metadata.uid == self.uid => kept,
            Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let values = store.secret_values(&self.uid).await?;
        if read(&values, &self.secret).is_some_and(|known| known.id() != grant.id()) {
            return Ok(());
        }
        let metadata = &kept.metadata;
        let desired = Desired {
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            ..Desired::new(&secret::DESCRIPTOR, None, &self.secret, json!({"data": grant.to_secret()}))
        };
        store.update(&key, Some(metadata.resource_version), &desired, &Actor::system()).await.map(drop)
    }
}
