//! Receipts: which calls were made under a key of their caller, and what came of them.
//!
//! A receipt is claimed before the call has an effect, and settled with its reply when it has ended. A claim that
//! another process left behind is never taken over: nobody knows what came of its call.

use std::time::Duration;

use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::store::Store;

/// What a receipt is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReceiptKey {
    /// The credential that calls.
    pub credential: String,
    /// The key that it has chosen.
    pub key: String,
}

/// Now, in seconds since 1970, as far as that is known: a wall clock may jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// It is not before this: what is old by it is old.
    pub earliest_unix: i64,
    /// It is not after this: what begins now grows old from here on.
    pub latest_unix: i64,
}

/// What a claim has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The call may be made.
    New,
    /// It is being made by this process.
    Running,
    /// It was begun by a process that is gone: nobody knows what came of it.
    Lost,
    /// It was made, with this reply; none if that was not kept.
    Done(Option<Vec<u8>>),
    /// Another call was made under this key.
    OfAnother,
    /// The credential has as many receipts as it may have.
    Full,
}

impl Store {
    /// Claims a receipt; the claim is durable when this returns.
    pub async fn claim_receipt(
        &self,
        receipt: &ReceiptKey,
        digest: &[u8; 32],
        now: Moment,
    ) -> Result<Claimed, StoreError> {
        self.forget_receipts(now.earliest_unix).await?;
        let claimed = query(
            "INSERT INTO receipts (credential, key, digest, process, is_done, reply, claimed_at)
             SELECT $1, $2, $3, $4, FALSE, NULL, $5
             WHERE (SELECT COUNT(*) FROM receipts WHERE credential = $1) < $6
             ON CONFLICT DO NOTHING",
        )
        .bind(&receipt.credential)
        .bind(&receipt.key)
        .bind(&digest[..])
        .bind(&*self.process)
        .bind(now.latest_unix)
        .bind(i64::try_from(self.limits.receipts_per_credential_max).unwrap_or(i64::MAX))
        .execute(&self.pools.writer)
        .await
        .map_err(StoreError::at("claim a receipt"))?;
        if claimed == 1 {
            return Ok(Claimed::New);
        }
        let row = query("SELECT * FROM receipts WHERE credential = $1 AND key = $2")
            .bind(&receipt.credential)
            .bind(&receipt.key)
            .fetch_optional(&self.pools.writer)
            .await
            .map_err(StoreError::at("read a receipt"))?;
        row.map_or(Ok(Claimed::Full), |row| self.claimed(&row, digest))
    }

    fn claimed(&self, row: &Row, digest: &[u8; 32]) -> Result<Claimed, StoreError> {
        let read = || -> Result<_, sqlx::Error> {
            let (of, process): (Vec<u8>, String) = (row.get("digest")?, row.get("process")?);
            Ok((of, process, row.get::<bool>("is_done")?, row.get("reply")?))
        };
        let (of, process, is_done, reply) = read().map_err(StoreError::at("read a receipt"))?;
        Ok(match is_done {
            _ if of != digest => Claimed::OfAnother,
            true => Claimed::Done(reply),
            false if process == *self.process => Claimed::Running,
            false => Claimed::Lost,
        })
    }

    /// Keeps the reply of the call that a receipt was claimed for; none if it is too large to be kept.
    pub async fn settle_receipt(&self, receipt: &ReceiptKey, reply: Option<&[u8]>) -> Result<(), StoreError> {
        query("UPDATE receipts SET is_done = TRUE, reply = $3 WHERE credential = $1 AND key = $2")
            .bind(&receipt.credential)
            .bind(&receipt.key)
            .bind(reply)
            .execute(&self.pools.writer)
            .await
            .map_err(StoreError::at("settle a receipt"))?;
        Ok(())
    }

    /// Gives a claim back: the call was not made.
    pub async fn release_receipt(&self, receipt: &ReceiptKey) -> Result<(), StoreError> {
        query("DELETE FROM receipts WHERE credential = $1 AND key = $2 AND NOT is_done")
            .bind(&receipt.credential)
            .bind(&receipt.key)
            .execute(&self.pools.writer)
            .await
            .map_err(StoreError::at("release a receipt"))?;
        Ok(())
    }

    async fn forget_receipts(&self, now_unix: i64) -> Result<(), StoreError> {
        let kept = Duration::from_millis(self.limits.receipts_kept_ms).as_secs();
        let oldest = now_unix.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
        // A look first: a change costs a sync, even one of no row.
        let has_old: bool = query("SELECT EXISTS (SELECT 1 FROM receipts WHERE claimed_at < $1)")
            .bind(oldest)
            .fetch_one(&self.pools.readers)
            .await
            .and_then(|row| row.at(0))
            .map_err(StoreError::at("look for old receipts"))?;
        if has_old {
            query("DELETE FROM receipts WHERE claimed_at < $1")
                .bind(oldest)
                .execute(&self.pools.writer)
                .await
                .map_err(StoreError::at("forget old receipts"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::limits::Limits;
    use crate::store::StoreConfig;

    const NOW: Moment = at(1_800_000_000);

    const fn at(unix: i64) -> Moment {
        Moment { earliest_unix: unix, latest_unix: unix }
    }

    const fn later(seconds: i64) -> Moment {
        at(NOW.latest_unix + seconds)
    }

    fn key(credential: &str, key: &str) -> ReceiptKey {
        ReceiptKey { credential: credential.to_owned(), key: key.to_owned() }
    }

    async fn open(dir: &Path) -> Store {
        let limits = Limits { receipts_per_credential_max: 3, receipts_kept_ms: 10_000, ..Limits::default() };
        Store::open(dir, StoreConfig { limits, ..StoreConfig::default() }).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_stands_for_one_call_of_one_credential() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let (mine, theirs) = (key("me", "k"), key("you", "k"));
        let claim = async |key: &ReceiptKey, of: u8| store.claim_receipt(key, &[of; 32], NOW).await.unwrap();
        assert_eq!((claim(&mine, 1).await, claim(&theirs, 1).await), (Claimed::New, Claimed::New));
        assert_eq!((claim(&mine, 1).await, claim(&mine, 2).await), (Claimed::Running, Claimed::OfAnother));
        store.settle_receipt(&mine, Some(b"reply")).await.unwrap();
        store.settle_receipt(&theirs, None).await.unwrap();
        // What is done is not given back.
        store.release_receipt(&mine).await.unwrap();
        assert_eq!(claim(&mine, 1).await, Claimed::Done(Some(b"reply".to_vec())));
        assert_eq!(
            (claim(&mine, 2).await, claim(&theirs, 1).await),
            (Claimed::OfAnother, Claimed::Done(None))
        );
    }

    #[tokio::test]
    async fn a_call_that_was_not_made_leaves_its_key_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let key = key("me", "k");
        assert_eq!(store.claim_receipt(&key, &[1; 32], NOW).await.unwrap(), Claimed::New);
        store.release_receipt(&key).await.unwrap();
        assert_eq!(store.claim_receipt(&key, &[2; 32], NOW).await.unwrap(), Claimed::New);
    }

    #[tokio::test]
    async fn what_a_process_left_open_is_lost_and_what_it_settled_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let (left, settled) = (key("me", "left"), key("me", "settled"));
        for key in [&left, &settled] {
            assert_eq!(store.claim_receipt(key, &[1; 32], NOW).await.unwrap(), Claimed::New);
        }
        store.settle_receipt(&settled, Some(b"r")).await.unwrap();
        store.close().await;
        let store = open(dir.path()).await;
        assert_eq!(store.claim_receipt(&left, &[1; 32], NOW).await.unwrap(), Claimed::Lost);
        let done = store.claim_receipt(&settled, &[1; 32], NOW).await.unwrap();
        assert_eq!(done, Claimed::Done(Some(b"r".to_vec())));
    }

    #[tokio::test]
    async fn receipts_are_bounded_and_forgotten_after_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        for number in 0..4 {
            let expected = if number < 3 { Claimed::New } else { Claimed::Full };
            let claimed = store.claim_receipt(&key("me", &number.to_string()), &[1; 32], NOW).await.unwrap();
            assert_eq!(claimed, expected, "{number}");
        }
        let claim =
            async |key: ReceiptKey, of: u8, now| store.claim_receipt(&key, &[of; 32], now).await.unwrap();
        assert_eq!(claim(key("you", "k"), 1, NOW).await, Claimed::New);
        assert_eq!(claim(key("me", "0"), 1, later(10)).await, Claimed::Running);
        assert_eq!(claim(key("me", "0"), 2, later(11)).await, Claimed::New);
    }

    #[tokio::test]
    async fn a_receipt_is_forgotten_only_when_it_is_old_for_sure() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let claim = async |now| store.claim_receipt(&key("me", "k"), &[1; 32], now).await.unwrap();
        let between = |from: i64, to: i64| Moment {
            earliest_unix: later(from).earliest_unix,
            latest_unix: later(to).latest_unix,
        };
        assert_eq!(claim(between(-1_000, 0)).await, Claimed::New);
        assert_eq!(claim(between(10, 1_000)).await, Claimed::Running);
        assert_eq!(claim(between(11, 1_000)).await, Claimed::New);
    }

    #[tokio::test]
    async fn of_many_claims_at_once_one_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let key = key("me", "k");
        let claims = (0..50).map(|_| store.claim_receipt(&key, &[1; 32], NOW));
        let claimed = futures_util::future::join_all(claims).await;
        let new = claimed.iter().filter(|claimed| matches!(claimed, Ok(Claimed::New))).count();
        let running = claimed.iter().filter(|claimed| matches!(claimed, Ok(Claimed::Running))).count();
        assert_eq!((new, running), (1, 49));
    }
}
