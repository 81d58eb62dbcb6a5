//! One connection of the load and what it does again and again.

use anyhow::{Context, Result, ensure};

use super::{Load, Work};
use crate::wire::{Answer, Connection};

/// The id of every question.
const ID: u64 = 2;

pub(super) struct Worker<'a> {
    load: &'a Load,
    connection: Connection,
    /// The question, if it is always the same.
    request: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// Connects and, if sessions are not the work itself, shakes hands.
    pub(super) async fn start(load: &'a Load) -> Result<Self> {
        let mut connection = Connection::open(&load.target).await?;
        let session = match load.work {
            Work::Calls => load.target.shake_hands(&mut connection).await?,
            Work::Sessions | Work::LeftSessions => None,
        };
        let request = load.target.request(session.as_deref(), &load.ask, ID);
        Ok(Self { load, connection, request })
    }

    /// Does it once.
    pub(super) async fn once(&mut self) -> Result<()> {
        match self.load.work {
            Work::Calls => {
                let answer = self.connection.exchange(&self.request).await?;
                self.judge(&answer)
            }
            Work::Sessions => {
                let session = self.session().await?;
                self.load.target.end_session(&mut self.connection, &session).await
            }
            Work::LeftSessions => self.session().await.map(drop),
        }
    }

    async fn session(&mut self) -> Result<String> {
        let Load { target, ask, .. } = self.load;
        let session = target.shake_hands(&mut self.connection).await?.context("there is no session")?;
        let answer = self.connection.exchange(&target.request(Some(&session), ask, ID)).await?;
        self.judge(&answer)?;
        Ok(session)
    }

    fn judge(&self, answer: &Answer) -> Result<()> {
        let (wanted, media) = (self.load.answers, answer.head.media);
        ensure!(wanted.is_none() || wanted == media, "the answer is {media:?} instead of {wanted:?}");
        answer.judge()
    }
}
