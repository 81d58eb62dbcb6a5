//! Invites: an account for whoever holds one, once.

use std::net::IpAddr;
use std::sync::Arc;

use hayward_api::{Code, Error, kinds};
use hayward_auth::{Token, TokenId};
use hayward_store::{Actor, Desired, Invite, NewInvite, StoreError, Transaction};
use serde_json::Value;

use super::{Entrance, Shown, SignedIn, bearable, unix, user};
use crate::guarded::Guarded;
use crate::refusal::Refusal;

impl Entrance {
    /// Keeps an invite, which is redeemed once.
    pub(crate) async fn invite(&self, invite: &NewInvite, actor: &Actor) -> Result<(), Refusal> {
        Ok(self.store.create_invite(invite, actor).await?)
    }

    /// The invites that are kept, oldest first.
    pub(crate) async fn invites(&self) -> Result<Vec<Invite>, Refusal> {
        Ok(self.store.list_invites().await?)
    }

    /// Takes an invite back.
    pub(crate) async fn take_invite_back(&self, id: TokenId) -> Result<(), Refusal> {
        Ok(self.store.delete_invite(id).await?)
    }

    /// Whom an invite is for, and its id, for the record.
    pub(crate) async fn invited(&self, invite: &str) -> Result<(Option<String>, Option<String>), Refusal> {
        let Ok(shown) = Token::parse(invite) else { return Ok((None, None)) };
        let known = self.store.list_invites().await?.into_iter().find(|known| known.id == shown.id);
        let email = known.and_then(|known| Some(known.content.get("email")?.as_str()?.to_owned()));
        Ok((Some(shown.id.to_string()), email))
    }

    /// Makes the user that an invite is for, and signs it in: all of it, or the invite is as good as before.
    ///
    /// Whoever made it must still be there and allowed to: what it can't do any more, what it left behind can't either.
    pub(crate) async fn join(
        &self,
        guarded: &Guarded,
        (invite, password): (&str, String),
        address: Option<IpAddr>,
    ) -> Result<SignedIn, Refusal> {
        let now = unix();
        // All invites are one account: guessing at them is as slow as guessing at a password.
        bearable(&password)?;
        let trying = self.try_at("", address, "too many wrong invites").await?;
        let wrong = || Refusal::new(Code::Unauthenticated, "the invite is not valid, or not any more");
        let Ok(shown) = Token::parse(invite) else { return Err(wrong()) };
        let digest = self.hash(password).await?;
        let mut change = self.snapshots.begin().await?;
        let redeemed = match change.redeem_invite(shown.id, &shown.digest, now.cast_signed()).await {
            Ok(redeemed) => redeemed,
            // Whoever holds a right one that is used or over guesses nothing.
            Err(StoreError::Done { .. }) => {
                trying.take_back();
                return Err(wrong());
            }
            Err(StoreError::NotFound { .. }) => return Err(wrong()),
            Err(error) => return Err(error.into()),
        };
        let text = |member: &str| redeemed.content.get(member).and_then(Value::as_str);
        let (email, actor) = (text("email").unwrap_or_default(), Actor::system());
        let groups = redeemed.content.get("groups").and_then(Value::as_array);
        let groups: Vec<&str> = groups.into_iter().flatten().filter_map(Value::as_str).collect();
        let maker = match redeemed.made_with {
            Some(credential) => self.snapshots.principal(credential),
            None => Actor::principal(&redeemed.made_by).map(Arc::new),
        };
        if !maker.is_some_and(|maker| guarded.may_still_invite(&maker, email, &groups)) {
            return Err(wrong());
        }
        trying.take_back();
        let wanted = user(email, text("name"), digest.clone())?;
        let made = change.create(&wanted, &actor).await?;
        for group in groups {
            join_group(&mut change, group, email, &actor).await?;
        }
        self.sign_in_with(change, made, Shown::Password(&digest)).await
    }
}

/// Puts a new user into a group, unless that is gone.
async fn join_group(change: &mut Transaction, name: &str, email: &str, actor: &Actor) -> Result<(), Refusal> {
    let kind = kinds::find("group").ok_or_else(|| Error::new(Code::Internal, "there are no groups"))?;
    let group = match change.find(kind, Some(None), name).await {
        Ok(group) => group,
        Err(StoreError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut spec = group.spec.clone();
    let mut members = spec.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
    members.push(email.into());
    spec["members"] = members.into();
    let desired = Desired {
        labels: group.metadata.labels.clone(),
        annotations: group.metadata.annotations.clone(),
        ..Desired::new(kind, None, group.metadata.name.as_str(), spec)
    };
    change.update(&desired.key(), Some(group.metadata.resource_version), &desired, actor).await?;
    Ok(())
}
