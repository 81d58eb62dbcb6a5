//! Packages that no server is any more: they are removed after a while.

use std::error::Error;
use std::time::Duration;

use hayward_api::kinds::server::{self, ServerSpec};
use hayward_runtime::placements::process::Process;
use hayward_store::{ListScope, Store, StoreError};
use tokio::time::sleep;

/// How often is looked for them at the least.
const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// Removes, again and again for ever, packages that nobody has declared or used for so long.
pub(super) async fn sweep(process: Process, store: Store, unused_for: Duration) {
    loop {
        sleep(unused_for.min(INTERVAL_MAX)).await;
        match declared(&store).await {
            Ok(declared) => process.forget_packages(&declared.iter().collect::<Vec<_>>(), unused_for).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "packages that no server is any more are kept");
            }
        }
    }
}

/// All servers. One that can't be read may be any package, so none is removed then.
async fn declared(store: &Store) -> Result<Vec<ServerSpec>, StoreError> {
    let servers = store.list(&server::DESCRIPTOR, ListScope::All).await?.items;
    servers.iter().map(hayward_store::Resource::spec).collect()
}
