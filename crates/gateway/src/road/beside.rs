//! What goes the road beside calls: changes of who may do what, other settings, transfers.

use hayward_api::{Code, Error, Source, Tier};
use hayward_audit::Moved;
use hayward_tool::{TransferError, Verb};
use tokio_util::sync::CancellationToken;

use super::{Arrival, Refused, Road, admit};
use crate::limits::CREDENTIAL_LOOK_INTERVAL;
use crate::upstreams::Expired;

/// What it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// The word for it in the record.
    pub(crate) method: &'static str,
    /// Its tier, if it has one.
    pub(crate) tier: Option<Tier>,
}

impl Beside {
    /// A change of who may do what.
    pub(crate) const ADMIN: Self = Self { method: "admin", tier: None };

    /// A change of what is declared, or of who is signed in.
    pub(crate) const MANAGE: Self = Self { method: "manage", tier: None };

    /// A look at what is declared.
    pub(crate) const LOOK: Self = Self { method: "manage", tier: Some(Tier::Read) };

    /// The beginning of a session.
    pub(crate) const BIND: Self = Self { method: "session_bind", tier: Some(Tier::Read) };

    /// A change of settings.
    pub(super) const CONFIG: Self = Self { method: "config", tier: None };
}

impl Beside {
    /// Whether what is asked for is named by a word of ours, and not by whoever asks.
    pub(super) fn is_named_by_us(self) -> bool {
        [Self::ADMIN, Self::MANAGE, Self::LOOK, Self::BIND, Self::CONFIG]
            .iter()
            .any(|ours| ours.method == self.method)
    }
}

impl Road {
    /// Records calls that were held because their server asked something, and that nobody came back for, until nobody can be
    /// held any more.
    pub async fn record_expired(&self) {
        let Some(mut expired) = self.upstreams().take_expired() else { return };
        while let Some(Expired { principal, server, correlation_id }) = expired.recv().await {
            self.let_go(&principal.credential, &correlation_id).await;
            let refused = Refused {
                principal,
                source: Source::default(),
                request_id: correlation_id,
                method: Verb::CallTool.method().to_owned(),
                name: server.to_string(),
                code: i64::from(Code::Timeout.http_status()),
                reason: "the call was cancelled: nobody answered what its server asked".to_owned(),
            };
            self.refuse(refused).await;
        }
    }
}

impl Road {
    /// Makes a change beside the tools, recorded like a call. Who was revoked while the request was on its
    /// way changes nothing.
    pub(crate) async fn change<T>(
        &self,
        arrival: &Arrival,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.is_current(&arrival.principal) {
            let error = admit::revoked();
            let told = Error::new(error.kind, error.message.clone());
            self.recorder.denied(arrival, None, error).await;
            return Err(told.with_hint("ask another administrator for a new token"));
        }
        self.recorder.around(arrival, async { Ok((change.await?, None)) }).await
    }

    /// Moves bytes under a ticket, as a call of whoever made it. What it is given fires when that credential is revoked; it says
    /// what it has moved.
    pub(crate) async fn transfer<T, F: Future<Output = Result<(T, Moved), TransferError>>>(
        &self,
        arrival: &Arrival,
        bytes: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, TransferError> {
        // A fence of the tool that made the ticket may have narrowed its maker's.
        let is_current = || {
            let now_unix = self.clock.expiry_unix();
            self.credentials.is_current_within(&arrival.principal, now_unix)
        };
        let entered = self.places.calls.enter(&arrival.principal, is_current);
        let permit = match entered {
            Ok(permit) => permit,
            Err(error) => {
                self.recorder.denied(arrival, None, error.clone()).await;
                return Err(error.into());
            }
        };
        let cancel = permit.pulled.child_token();
        let bytes = bytes(cancel.clone());
        let bytes = async { bytes.await.map(|(made, moved)| (made, Some(moved))) };
        let mut moving = std::pin::pin!(self.recorder.around(arrival, bytes));
        loop {
            tokio::select! {
                moved = &mut moving => return moved,
                () = tokio::time::sleep(CREDENTIAL_LOOK_INTERVAL) => {}
            }
            // It outlives neither its maker's token nor the end of that.
            if !is_current() {
                cancel.cancel();
            }
        }
    }
}
