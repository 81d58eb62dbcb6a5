//! A watch: which versions it told, and when.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::sync::watch::Receiver;

use super::desk::Desk;
use crate::wire::{Connection, Target};

/// A watch of servers, from when it began on.
pub(in super::super) struct Watching {
    connection: Connection,
    /// What came and is no whole line yet.
    rest: Vec<u8>,
    heard: Heard,
}

/// What a watch told.
#[derive(Default)]
pub(super) struct Heard {
    /// Versions of changes.
    pub(super) versions: HashSet<u64>,
    /// Changes that were older than what was told before.
    pub(super) disordered: usize,
    last: u64,
}

impl Watching {
    /// Follows servers from the newest change on.
    pub(in super::super) async fn begin(target: &Target) -> Result<Self> {
        let mut desk = Desk::open(target).await?;
        let newest = desk.list().await?.iter().filter_map(|server| server["version"].as_u64()).max();
        let mut connection = Connection::open(target).await?;
        let path = format!("/api/v1/servers?watch=true&resourceVersion={}", newest.unwrap_or_default());
        let head = connection.begin(&target.manage("GET", &path, "")).await?;
        ensure!(head.status == 200, "a watch was answered with {}", head.status);
        Ok(Self { connection, rest: Vec::new(), heard: Heard::default() })
    }

    /// Follows, reading at once whatever comes, until it is told which version is the last and has heard of that.
    pub(super) async fn follow(mut self, mut last: Receiver<Option<u64>>) -> Result<Heard> {
        let is_over = |heard: &Heard, last: &mut Receiver<Option<u64>>| {
            last.borrow_and_update().is_some_and(|last| heard.last >= last)
        };
        while !is_over(&self.heard, &mut last) {
            // A chunk that is begun is read to its end, whatever is told meanwhile.
            let chunk = {
                let mut chunk = pin!(self.connection.chunk());
                loop {
                    tokio::select! {
                        chunk = &mut chunk => break chunk?,
                        told = last.changed() => told.context("nobody says what is the last")?,
                    }
                    if is_over(&self.heard, &mut last) {
                        return Ok(self.heard);
                    }
                }
            };
            self.take(chunk.context("a watch has ended")?)?;
        }
        Ok(self.heard)
    }

    /// Waits for the next change.
    pub(in super::super) async fn hear_next(&mut self) -> Result<Instant> {
        let next = self.heard.last + 1;
        self.hear(next).await
    }

    /// Waits until this version, or a later one, was told; when that was.
    pub(super) async fn hear(&mut self, version: u64) -> Result<Instant> {
        while self.heard.last < version {
            let chunk = self.connection.chunk().await?.context("a watch has ended")?;
            self.take(chunk)?;
        }
        Ok(Instant::now())
    }

    fn take(&mut self, chunk: Vec<u8>) -> Result<()> {
        self.rest.extend(chunk);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.heard.take(&serde_json::from_slice(&line).context("a watch told no JSON")?)?;
        }
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, event: &Value) -> Result<()> {
        if event["type"] == "BOOKMARK" {
            return Ok(());
        }
        let version =
            event["version"].as_u64().with_context(|| format!("an event without version: {event}"))?;
        // Changes of one `apply` have a version each, in order.
        self.disordered += usize::from(version <= self.last);
        self.last = self.last.max(version);
        self.versions.insert(version);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_change_after_a_newer_one_is_noted_and_a_bookmark_is_no_change() {
        let mut heard = Heard::default();
        for version in [3, 5, 4, 6] {
            heard.take(&json!({"type": "MODIFIED", "version": version})).unwrap();
        }
        heard.take(&json!({"type": "BOOKMARK", "version": 1})).unwrap();
        assert_eq!((heard.disordered, heard.versions.len(), heard.last), (1, 4, 6));
        assert!(heard.take(&json!({"type": "ADDED"})).is_err());
    }
}
