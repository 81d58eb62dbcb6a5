//! The server that a command asks, and as whom: what flags, environment, files and the last login say.
//!
//! A command of this sort opens nothing else: no data directory, no log, one thread.

pub(crate) mod credentials;

mod documents;
mod project;

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use hayward_api::Code;
use hayward_client::{Address, Client, Config, Trust};

use crate::config;
use crate::failure::Failure;
use crate::output;
use crate::remote::token_of;
use crate::runtime;

pub(crate) use documents::{Found, Meant, complete, found, is_wanted, target};
pub(crate) use project::{ProjectArg, has_some};

/// Bytes of a file of certificates.
const CA_BYTES_MAX: u64 = 1 << 20;

/// The server that a command asks; every command that asks one has these.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// Address of the server; `HAYWARD_URL` says it too
    #[arg(long, env = "HAYWARD_CLIENT_URL", value_name = "URL", default_value = "http://127.0.0.1:8765", value_parser = address, help_heading = "Server")]
    url: Address,

    /// File that holds the token; else `HAYWARD_TOKEN`, else the last login at this address
    #[arg(long, env = "HAYWARD_CLIENT_TOKEN_FILE", value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,

    /// File of the certificates that are trusted, instead of those of the system
    #[arg(long, env = "HAYWARD_CLIENT_CA", value_name = "FILE", help_heading = "Server")]
    ca: Option<PathBuf>,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

impl ServerArgs {
    /// The same where a flag of this id says otherwise. A word that is no address is told.
    pub(crate) fn take(&mut self, id: &str, value: &str) -> Result<(), String> {
        match id {
            "url" => self.url = address(value)?,
            "token_file" => self.token_file = Some(value.into()),
            "ca" => self.ca = Some(value.into()),
            _ => {}
        }
        Ok(())
    }

    /// The server.
    pub(crate) fn address(&self) -> &Address {
        &self.url
    }

    /// A client with the credential that there is.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = self.token()?;
        self.client_with(token)
    }

    /// A client with this credential.
    pub(crate) fn client_with(&self, token: Option<String>) -> Result<Client, Failure> {
        Ok(Client::new(Config { address: self.url.clone(), token, trust: self.trust()? })?)
    }

    /// Whose certificates are trusted.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        match &self.ca {
            Some(path) if self.url.is_tls() => Ok(Trust::Only(certificates(path)?)),
            _ => Ok(Trust::System),
        }
    }

    /// The credential: of the file that was named, of the environment, of the last login.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.token_file {
            return token_of(path).map(Some);
        }
        if let Some(said) = variable() {
            return Ok(Some(said));
        }
        let login = credentials::find(&self.url.to_string())?;
        Ok(login.map(|login| login.token))
    }
}

/// The credential of the environment.
fn variable() -> Option<String> {
    let said = config::variable("HAYWARD_TOKEN").into_os_string().into_string().ok()?;
    Some(said.trim().to_owned()).filter(|said| !said.is_empty())
}

/// Tells whoever logs in or out if commands go by the environment all the same.
pub(crate) fn note_variable() {
    if variable().is_some() {
        output::tell("note: HAYWARD_TOKEN is set: commands go by it and not by a login, as long as it is\n");
    }
}

fn certificates(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut pem));
    read.with_context(|| format!("failed to read `{}`", path.display())).map_err(Failure::configuration)?;
    Ok(pem)
}

/// Runs what asks a server.
pub(crate) fn block_on<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime::block_on_here(asking)
}

impl From<hayward_client::Error> for Failure {
    fn from(error: hayward_client::Error) -> Self {
        let (code, hint) = (error.code(), error.hint());
        // What is a parameter there is a flag here.
        let hint = hint.map(|hint| hint.replace("`?project=NAME`", "`-p NAME`"));
        let hint = hint.or_else(|| (code == Code::Unauthenticated).then(|| "run `hayward login`".to_owned()));
        let told = error.to_string();
        // One fault is told already.
        let others = error.faults().iter().filter(|fault| fault.message != told);
        let lines = others.map(|fault| format!("\n  {}: {}", fault.field, fault.message));
        let faults = lines.collect::<Vec<_>>().concat();
        let error = if faults.is_empty() { error.into() } else { anyhow!("{error}{faults}") };
        Self { error, hint, exit_code: code.exit_code() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_command_waits_until_its_server_says_that_it_gives_up() {
        let gives_up = hayward_controlplane::limits::Limits::default().answer_timeout_ms;
        assert!(hayward_client::limits::SILENCE_TIMEOUT > Duration::from_millis(gives_up));
    }
}
