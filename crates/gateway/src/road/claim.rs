//! What a call uses up: its key, and the state that its round came with.

use std::sync::PoisonError;

use hayward_api::Ending;
use hayward_mcp::error::RpcError;
use hayward_mcp::state::StateError;
use hayward_tool::{Outcome, Reply, Verdict};

use super::Road;
use super::arrival::{Arrival, Spends};
use super::once::Keyed;

impl Road {
    /// Claims what the call may use once: its key, and the state that this round came with. Refused if one of them is
    /// used up.
    pub(super) async fn claim(&self, arrival: &Arrival, keyed: Option<&Keyed>) -> Result<(), Outcome> {
        let Some(keyed) = keyed else {
            return self.spend(arrival);
        };
        if keyed.is_claimed(arrival, &self.held_keys) {
            return self.spend(arrival);
        }
        Box::pin(async {
            keyed.claim(&self.store, arrival, self.clock.now()).await?;
            let spent = self.spend(arrival);
            if spent.is_err() {
                keyed.release(&self.store).await;
            }
            spent
        })
        .await
    }

    /// Uses up the state that this round came with: whoever waited for its place may try again until here.
    fn spend(&self, arrival: &Arrival) -> Result<(), Outcome> {
        let Some(Spends { nonce, expires_unix }) = arrival.spends else {
            return Ok(());
        };
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.spend(&arrival.principal.credential, nonce, expires_unix, self.clock.counted_unix()) {
            return Ok(());
        }
        let RpcError { code, message, data } = StateError::Refused.to_rpc();
        let verdict = Verdict::failed(Ending::Denied, "StateSpent", "the state was used before");
        Err(Outcome { verdict, reply: Reply::Error { code, message, data }, detail: None })
    }
}
