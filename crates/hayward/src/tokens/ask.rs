//! What a command asks of the desk, as a value that crosses a socket, and what it is told.

use std::sync::Arc;

use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::kinds::{project, server};
use hayward_api::{Error, Principal, Reach, Source, Tier};
use hayward_gateway::Protocol;
use hayward_gateway::tokens::recorded::{self, Author};
use hayward_gateway::tokens::{Revoked, TokenView, Tokens};
use hayward_store::StoreError;
use serde::{Deserialize, Serialize};

use super::TokenDesk;

/// What is to be done.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Lists tokens.
    List,
    /// Makes one.
    Create { name: String, spec: Box<TokenSpec> },
    /// Revokes one.
    Revoke { token: String },
    /// Puts a new one in the place of every one of a role.
    Rotate { role: Role },
    /// Revokes every one of a role.
    RevokeRole { role: Role },
}

/// What came of it. It may hold a token, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Listed(Vec<TokenView>),
    /// The token, as it is shown once.
    Made(String),
    /// The same of one that was asked for by name, and what of its reach is not there, e.g. "project `home`".
    Created {
        token: String,
        missing: Vec<String>,
    },
    Revoked(Vec<Revoked>),
}

impl TokenDesk {
    /// Does what a process of this machine asks for, that may manage tokens; a change is recorded by this protocol.
    pub(crate) async fn answer(&self, protocol: &Protocol, ask: Ask) -> Result<Told, Error> {
        let author = author();
        Ok(match ask {
            Ask::List => Told::Listed(self.list().await?),
            Ask::Create { name, spec } => {
                let reach = spec.reach.clone();
                let token = recorded::create(protocol, self, author, (name, *spec)).await?;
                Told::Created { token, missing: self.missing(&reach).await }
            }
            Ask::Revoke { token } => {
                Told::Revoked(vec![recorded::revoke(protocol, self, author, token).await?])
            }
            Ask::Rotate { role } => Told::Made(recorded::rotate(protocol, self, author, role).await?),
            Ask::RevokeRole { role } => {
                Told::Revoked(recorded::revoke_role(protocol, self, author, role).await?)
            }
        })
    }
}

impl TokenDesk {
    /// What somebody reaches that is not there: it may come, or it was mistyped. What can't be known is not told.
    async fn missing(&self, reach: &Reach) -> Vec<String> {
        let servers = reach
            .servers
            .iter()
            .filter(|name| !server::RESERVED.contains(&name.as_str()))
            .map(|name| (&server::DESCRIPTOR, name));
        let all = servers.chain(reach.projects.iter().map(|name| (&project::DESCRIPTOR, name)));
        let mut missing = Vec::new();
        for (kind, name) in all {
            let found = self.store.find(kind, None, name).await;
            if matches!(found, Err(StoreError::NotFound { .. })) {
                missing.push(format!("{} `{name}`", kind.name));
            }
        }
        missing
    }
}

/// Who changes things from the command line: a process of this machine.
fn author() -> Author {
    Author {
        principal: Arc::new(Principal::local("cli", Tier::Operate)),
        source: Source::default(),
        request_id: None,
    }
}
