//! What runs: what instances say, how they are, and which tools of servers wait to be approved.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Ask, Client};
use crate::error::Error;
use crate::lines::Lines;

/// Which lines of a log are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogPart {
    /// Only so many of the last ones.
    pub tail: Option<u64>,
    /// Those of the instance before.
    pub is_previous: bool,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogLine {
    /// How many came before it.
    pub number: u64,
    /// When it came.
    #[serde(default)]
    pub at: Option<String>,
    /// What it says. It may hold anything, also what steers a terminal.
    pub text: String,
}

/// What a person is asked, so that a server can be used.
#[derive(Clone, Debug, Deserialize)]
pub struct AccessQuestion {
    /// What the person opens.
    pub url: String,
    /// Who asks the person.
    pub issuer: String,
    /// What is to be allowed.
    pub scopes: Vec<String>,
}

/// That a server can be used.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessGranted {
    /// The name of the secret that holds what was granted.
    pub secret: String,
    /// Who granted it.
    pub issuer: String,
    /// What is allowed.
    pub scopes: Vec<String>,
    /// Whether it goes on without a person.
    pub is_renewable: bool,
    /// When it is over, if it isn't renewed.
    #[serde(default)]
    pub expires_at: Option<String>,
}

/// A log, as it goes on.
pub struct LogLines(Lines);

/// A tool of a server.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerTool {
    /// How its server calls it.
    pub name: String,
    /// How it stands.
    pub state: ToolState,
    /// Why it is not shown.
    #[serde(default)]
    pub why: Option<String>,
    /// What was approved of it.
    #[serde(default)]
    pub approved: Option<Defined>,
    /// What waits of it.
    #[serde(default)]
    pub pending: Option<Defined>,
    /// What is another in what waits.
    #[serde(default)]
    pub changes: Vec<Difference>,
}

/// How a tool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ToolState {
    /// It is shown.
    #[serde(rename = "shown")]
    Shown,
    /// It waits for somebody to approve it.
    #[serde(rename = "waits")]
    Waits,
    /// It is not shown, and approving it makes no difference.
    #[serde(rename = "kept back")]
    KeptBack,
}

/// What a server said of a tool at some time.
#[derive(Clone, Debug, Deserialize)]
pub struct Defined {
    /// Its digest.
    pub digest: String,
}

/// A member of a definition that is another; the values are JSON in which every character is seen.
#[derive(Clone, Debug, Deserialize)]
pub struct Difference {
    /// Which.
    pub path: String,
    /// What it was.
    #[serde(default)]
    pub before: Option<String>,
    /// What it is.
    #[serde(default)]
    pub after: Option<String>,
}

impl Client {
    /// The last lines of the log of an instance.
    pub async fn logs(&self, instance: &str, part: LogPart) -> Result<Vec<LogLine>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            lines: Vec<LogLine>,
        }
        let answer: Answer = self.fetch(self.ask_for_log(instance, part, false)).await?;
        Ok(answer.lines)
    }

    /// The log of an instance, as it goes on.
    pub async fn follow_logs(&self, instance: &str, part: LogPart) -> Result<LogLines, Error> {
        let response = self.send(self.ask_for_log(instance, part, true)).await?;
        Ok(LogLines(Lines::new(response, self.address().to_string())))
    }

    fn ask_for_log(&self, instance: &str, part: LogPart, is_followed: bool) -> Ask {
        let mut url = self.route(&["instances", instance, "logs"]);
        let tail = part.tail.map(|tail| tail.to_string());
        let pairs = [
            tail.as_deref().map(|tail| ("tail", tail)),
            part.is_previous.then_some(("previous", "true")),
            is_followed.then_some(("follow", "true")),
        ];
        for (name, value) in pairs.into_iter().flatten() {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ask::new(Method::GET, url)
    }

    /// What the node that runs an instance knows of it.
    pub async fn inspect(&self, instance: &str) -> Result<Value, Error> {
        self.ask(Method::GET, &["instances", instance, "inspect"]).await
    }

    /// The tools that are known of a server.
    pub async fn tools(&self, server: &str) -> Result<Vec<ServerTool>, Error> {
        self.fetch(Ask::new(Method::GET, self.route(&["servers", server, "tools"]))).await
    }

    /// Approves what waits of a tool, if it is what has this digest.
    pub async fn approve(&self, server: &str, tool: &str, digest: &str) -> Result<Value, Error> {
        let url = self.route(&["servers", server, "tools", tool, "approve"]);
        self.fetch(Ask::new(Method::POST, url).json(&json!({ "digest": digest }))).await
    }

    /// Asks for access to a server: the browser of whoever grants it comes back to this address.
    pub async fn ask_for_access(&self, server: &str, redirect_uri: &str) -> Result<AccessQuestion, Error> {
        let url = self.route(&["servers", server, "authorization"]);
        self.fetch(Ask::new(Method::POST, url).json(&json!({ "redirectUri": redirect_uri }))).await
    }

    /// Hands on what that browser came back with: the query of the address.
    pub async fn answer_for_access(&self, server: &str, query: &str) -> Result<AccessGranted, Error> {
        let url = self.route(&["servers", server, "authorization", "answer"]);
        self.fetch(Ask::new(Method::POST, url).json(&json!({ "query": query }))).await
    }
}

impl LogLines {
    /// The next line; none when the log is over. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<LogLine>, Error> {
        self.0.next().await
    }
}
