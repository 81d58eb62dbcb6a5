//! Logins: the first user, who somebody is, the way in and out.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Ask, Client};
use crate::error::Error;

/// The first user. It has no `Debug`, since it holds a password.
#[derive(Serialize)]
pub struct Bootstrap<'a> {
    /// The address of mail that is the name of the user.
    pub email: &'a str,
    /// What proves later that it is them.
    pub password: &'a str,
    /// What they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// Somebody who was invited. It has no `Debug`, since it holds a password.
#[derive(Serialize)]
pub struct Join<'a> {
    /// What was given to them; of use once.
    pub invite: &'a str,
    /// The password that they choose.
    pub password: &'a str,
}

/// A login. It has no `Debug`, since it holds a token.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// The token that stands for it.
    pub token: String,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Whose it is.
    pub user: Person,
}

/// Somebody.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Person {
    /// Their id.
    #[serde(default)]
    pub id: Option<String>,
    /// Their address of mail, which is their name as a resource.
    #[serde(default)]
    pub email: String,
    /// What they are called.
    #[serde(default)]
    pub name: Option<String>,
    /// What they may do on the whole.
    #[serde(default)]
    pub role: Option<String>,
}

/// Somebody who is to be invited.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewInvite<'a> {
    /// Their address of mail.
    pub email: &'a str,
    /// What they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The groups that they will be in.
    pub groups: &'a [String],
    /// Seconds until it is of no use; the server's own if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// An invite as it was made. It has no `Debug`, since it holds what redeems it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// What redeems it, told this once.
    pub invite: String,
    /// Whom it is for.
    pub email: String,
    /// When it is of no use any more, RFC 3339.
    pub expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    has_users: bool,
}

impl Client {
    /// Whether there are users already.
    pub async fn has_users(&self) -> Result<bool, Error> {
        let ask = Ask::new(Method::GET, self.route(&["auth", "status"]));
        self.fetch::<Status>(ask).await.map(|status| status.has_users)
    }

    /// Makes the first user, who may do everything; needs an admin token, and is refused once there is a user.
    pub async fn bootstrap(&self, first: &Bootstrap<'_>) -> Result<LoggedIn, Error> {
        self.enter("bootstrap", first).await
    }

    /// Logs in.
    pub async fn login(&self, email: &str, password: &str) -> Result<LoggedIn, Error> {
        self.enter("login", &json!({ "email": email, "password": password })).await
    }

    /// Takes an invite up.
    pub async fn join(&self, join: &Join<'_>) -> Result<LoggedIn, Error> {
        self.enter("join", join).await
    }

    async fn enter(&self, route: &str, body: &impl Serialize) -> Result<LoggedIn, Error> {
        self.fetch(Ask::new(Method::POST, self.route(&["auth", route])).json(body)).await
    }

    /// Ends the login that the token stands for.
    pub async fn logout(&self) -> Result<(), Error> {
        self.send(Ask::new(Method::POST, self.route(&["auth", "logout"]))).await.map(drop)
    }

    /// Gives the user of this login another password. All its logins end; this is a new one.
    pub async fn change_password(&self, old: &str, new: &str) -> Result<LoggedIn, Error> {
        self.enter("password", &json!({ "old": old, "new": new })).await
    }

    /// Invites somebody.
    pub async fn invite(&self, invite: &NewInvite<'_>) -> Result<Invited, Error> {
        self.fetch(Ask::new(Method::POST, self.route(&["auth", "invites"])).json(invite)).await
    }

    /// The invites that there are, as objects, without what redeems them.
    pub async fn invites(&self) -> Result<Vec<Value>, Error> {
        self.fetch(Ask::new(Method::GET, self.route(&["auth", "invites"]))).await
    }

    /// Takes the invite of this id back.
    pub async fn revoke_invite(&self, id: &str) -> Result<(), Error> {
        self.send(Ask::new(Method::DELETE, self.route(&["auth", "invites", id]))).await.map(drop)
    }

    /// Who the token stands for.
    pub async fn me(&self) -> Result<Value, Error> {
        self.fetch(Ask::new(Method::GET, self.route(&["auth", "me"]))).await
    }
}
