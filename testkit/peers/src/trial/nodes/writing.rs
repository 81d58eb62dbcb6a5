//! Writers that get in each other's way, one that changes two servers in one step, and who looks at both.

use anyhow::{Context, Result};
use tokio::sync::watch::Receiver;

use super::desk::{self, Desk};
use super::{HOT, hot_name, server};
use crate::wire::Target;

/// Two servers that are always changed together.
pub(super) const PAIR: [&str; 2] = ["pair-left", "pair-right"];

/// What was acknowledged.
pub(super) struct Written {
    pub(super) versions: Vec<u64>,
    /// How often each of the hot servers was counted up.
    pub(super) per_server: Vec<u64>,
    pub(super) conflicts: usize,
}

impl Written {
    pub(super) fn none(servers: usize) -> Self {
        Self { versions: Vec::new(), per_server: vec![0; servers], conflicts: 0 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.versions.extend(other.versions);
        self.conflicts += other.conflicts;
        self.per_server.iter_mut().zip(other.per_server).for_each(|(sum, more)| *sum += more);
    }
}

/// Counts hot servers up, one after the other, each until it was acknowledged.
pub(super) async fn change_often(node: Target, number: usize, changes: usize) -> Result<Written> {
    let mut desk = Desk::open(&node).await?;
    let mut written = Written::none(HOT);
    for change in 0..changes {
        let which = (number + change * 7) % HOT;
        loop {
            match desk.count_up(&hot_name(which)).await? {
                Some(version) => {
                    written.versions.push(version);
                    written.per_server[which] += 1;
                    break;
                }
                None => written.conflicts += 1,
            }
        }
    }
    Ok(written)
}

/// Changes both of the pair in one step, again and again; the versions that this gave.
pub(super) async fn change_both(node: Target, stopped: Receiver<bool>) -> Result<Vec<u64>> {
    let mut desk = Desk::open(&node).await?;
    let mut versions = Vec::new();
    let mut round = 0_u64;
    while !*stopped.borrow() {
        round += 1;
        let pair = PAIR.map(|name| {
            let mut server = server(name);
            server["annotations"]["count"] = round.to_string().into();
            server
        });
        let version = desk.apply(pair.to_vec()).await?;
        versions.push(version.context("an apply has no version")?);
    }
    Ok(versions)
}

/// What lists showed.
pub(super) struct Looked {
    pub(super) lists: usize,
    /// Lists in which both of the pair differed.
    pub(super) torn: usize,
}

/// Lists all servers, again and again, and compares both of the pair.
pub(super) async fn look_at_both(node: Target, stopped: Receiver<bool>) -> Result<Looked> {
    let mut desk = Desk::open(&node).await?;
    let mut looked = Looked { lists: 0, torn: 0 };
    while !*stopped.borrow() {
        let listed = desk.list().await?;
        let of = |name: &str| listed.iter().find(|server| server["name"] == name).map(desk::count);
        looked.lists += 1;
        looked.torn += usize::from(of(PAIR[0]) != of(PAIR[1]));
    }
    Ok(looked)
}
