//! The first tokens of a service: which it lacks, and making them.

use std::path::Path;

use hayward_api::kinds::token::Role;
use hayward_api::{Error, Principal, Tier};
use hayward_store::{Actor, DatabaseUrl, Store};

use crate::config::AllLimits;
use crate::failure::Failure;
use crate::stack::{acquire, in_detail, open_store};

/// A token that was made, and what it is for.
pub(super) type Made = (Role, String);

/// The roles that want a token and have none yet: the admin's, and that of metrics if it is asked for. Looks only, so that a
/// daemon may run meanwhile.
pub(super) async fn lacking(
    data_dir: &Path,
    database: Option<&DatabaseUrl>,
    metrics: bool,
) -> Result<Vec<Role>, Failure> {
    let stored = hayward_store::read_tokens(data_dir, database).await.map_err(in_detail)?;
    let is_wanted = |role: &Role| *role == Role::Admin || (metrics && role.as_str() == "metrics");
    let is_there = |role: &Role| stored.iter().any(|token| token.spec.role == *role && token.spec.enabled);
    Ok(Role::ALL.into_iter().filter(|role| is_wanted(role) && !is_there(role)).collect())
}

/// Makes a token for each of these roles.
pub(super) async fn tokens(
    data_dir: &Path,
    database: Option<DatabaseUrl>,
    roles: &[Role],
) -> Result<Vec<Made>, Failure> {
    let data = acquire(data_dir)
        .map_err(|locked| locked.failure.hint("stop the service first: `systemctl stop hayward`"))?;
    let store = open_store(data.path(), database, &AllLimits::default()).await?;
    let made = make(&store, roles).await;
    store.close().await;
    made
}

async fn make(store: &Store, roles: &[Role]) -> Result<Vec<Made>, Failure> {
    let actor = Actor::from(&Principal::local("install-service", Tier::Operate));
    let mut made = Vec::new();
    for role in roles {
        let (_, token) = store.create_token(role.as_str(), *role, &actor).await.map_err(Error::from)?;
        made.push((*role, token.reveal().to_owned()));
    }
    Ok(made)
}
