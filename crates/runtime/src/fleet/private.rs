//! Processes that belong to one caller or session: started when they are asked for, bounded in number, and stopped when nobody
//! needs them any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hayward_mcp::abilities::Abilities;

use super::instance::Instance;
use super::{Fleet, Wanted};

/// Whose process it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrivateKey {
    /// The server.
    pub server: Arc<str>,
    /// The caller or the session, in whatever words whoever asks for it has.
    pub owner: Arc<str>,
}

/// Why there is no process for one caller or session.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// There are as many as there may be.
    #[error("{count} processes of one caller or session run already, which is as many as may")]
    Full {
        /// How many.
        count: usize,
    },
    /// There are as many of this server as there may be.
    #[error(
        "server `{server}` runs {count} processes of one caller or session already, which is as many as it may"
    )]
    ServerFull {
        /// The server.
        server: String,
        /// How many.
        count: usize,
    },
    /// Everything ends.
    #[error("the fleet is being closed")]
    Closing,
}

/// Tells the names of all of them apart.
static STARTED: AtomicU64 = AtomicU64::new(0);

impl Fleet {
    /// The process of this server that belongs to one owner; it is started, as this and for a client that can do this when it
    /// is asked, unless it runs already. One of another generation is stopped. No call is ever given it by
    /// [`Fleet::pick`], and it stops when it has had no call for long.
    pub fn start_private(
        &self,
        owner: &str,
        wanted: Wanted,
        abilities: Abilities,
    ) -> Result<Arc<Instance>, PrivateError> {
        if self.ground.closing.is_cancelled() {
            return Err(PrivateError::Closing);
        }
        let key = PrivateKey { server: Arc::clone(&wanted.server), owner: owner.into() };
        let mut table = self.write();
        table.sweep_private();
        if let Some(instance) = table.get_private(&key) {
            let is_good = instance.generation() == wanted.generation && !instance.stopping().is_cancelled();
            if is_good {
                return Ok(Arc::clone(instance));
            }
            instance.stop();
        }
        // The one whose place is taken doesn't count.
        let others = || table.private().filter(|it| it.private() != Some(&key));
        let (all, of_server) =
            (others().count(), others().filter(|it| *it.server() == wanted.server).count());
        let is_full = |count: usize, max: u64| u64::try_from(count).is_ok_and(|count| count >= max);
        if is_full(all, self.ground.limits.private_max) {
            return Err(PrivateError::Full { count: all });
        }
        if is_full(of_server, self.ground.limits.private_per_server_max) {
            return Err(PrivateError::ServerFull { server: wanted.server.to_string(), count: of_server });
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-private-{number}", wanted.server);
        let mut wanted = Wanted { is_left: false, ..wanted };
        (wanted.order.name, wanted.name) = (name.clone(), name);
        let idle = Duration::from_millis(self.ground.limits.private_idle_ms);
        let instance = self.begin(wanted, Some(key.clone()), (abilities, Some(idle)));
        table.insert_private(key, Arc::clone(&instance));
        Ok(instance)
    }

    /// Stops this one: nobody needs it any more. A newer one of the same owner goes on.
    pub fn stop_private(&self, instance: &Arc<Instance>) {
        self.stop_private_unless(|other| !std::ptr::eq(other, &raw const **instance));
    }

    /// Stops all that belong to one owner, except those that are kept.
    pub fn stop_private_unless(&self, is_kept: impl Fn(&Instance) -> bool) {
        let private: Vec<Arc<Instance>> = self.read().private().cloned().collect();
        private.iter().filter(|instance| !is_kept(instance)).for_each(|instance| instance.stop());
    }

    /// Those that belong to one owner each.
    pub fn private(&self) -> Vec<Arc<Instance>> {
        self.read().private().filter(|instance| !instance.is_ended()).cloned().collect()
    }
}
