//! Containers that a daemon that died has left: those that may be gone on with, and the others, which are removed.

use std::collections::HashSet;
use std::error::Error;

use hayward_api::kinds::instance;
use hayward_runtime::placements::docker::Docker;
use hayward_store::{ListScope, Store};

/// The instances that run on, and are still written down. What else is left is removed.
pub(super) async fn of(docker: Option<&Docker>, store: &Store) -> HashSet<String> {
    let Some(docker) = docker else { return HashSet::new() };
    let written = match store.list(&instance::DESCRIPTOR, ListScope::All).await {
        Ok(listed) => listed.items.into_iter().map(|it| it.metadata.name.to_string()).collect(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn Error, "containers of a dead daemon are not gone on with");
            HashSet::new()
        }
    };
    let names: Vec<&str> = written.iter().map(String::as_str).collect();
    let left = async {
        docker.clean_up(&names).await?;
        docker.list().await
    };
    match left.await {
        Ok(left) => left.into_iter().map(|found| found.instance).collect(),
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "containers of a dead daemon may be left");
            HashSet::new()
        }
    }
}
