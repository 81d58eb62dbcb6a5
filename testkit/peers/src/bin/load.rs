//! `load`: raw load over HTTP/1.1 or the lines of a process; prints one line of JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use hayward_peers::load::{self, Load, Work};
use hayward_peers::wire::{Accept, Ask, Era, LEGACY_VERSION, Media, Target, Trust};

/// Puts a closed-loop load on a server. The bearer token comes from `LOAD_TOKEN`.
#[derive(Parser)]
struct Arguments {
    /// Where to send it, e.g. `http://127.0.0.1:8765/mcp`; or `stdio:PROGRAM ARGUMENT…`, a server to start and to speak with
    /// over its standard input and output.
    url: String,
    /// The bearer token.
    #[arg(long, env = "LOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The certificate (PEM) to trust, for `https://`.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How to speak.
    #[arg(long, value_enum, default_value = "legacy")]
    era: Era,
    /// The revision of the legacy era to speak.
    #[arg(long, default_value = LEGACY_VERSION)]
    revision: String,
    /// What answers may look like.
    #[arg(long, value_enum, default_value = "both")]
    accept: Accept,
    /// What they must look like; another form is an error.
    #[arg(long, value_enum)]
    answers: Option<Media>,
    /// What is done over and over.
    #[arg(long, value_enum, default_value = "calls")]
    work: Work,
    /// The method.
    #[arg(long, default_value = "tools/call")]
    method: String,
    /// The tool, for `tools/call`.
    #[arg(long)]
    tool: Option<String>,
    /// Its arguments as JSON, or `@FILE`.
    #[arg(long = "arguments", default_value = "{}")]
    input: String,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Milliseconds before the measurement.
    #[arg(long, default_value_t = 300)]
    warmup_ms: u64,
    /// Milliseconds of the measurement.
    #[arg(long, default_value_t = 2000)]
    duration_ms: u64,
    /// The server's process, for its processor time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

impl Arguments {
    /// The program to start, if it is one, and its arguments.
    fn program(&self) -> Option<Vec<String>> {
        let words = self.url.strip_prefix("stdio:")?;
        Some(words.split_whitespace().map(str::to_owned).collect())
    }

    fn load(self) -> Result<Load> {
        // Nothing of an address goes to a program.
        let url = if self.program().is_some() { "http://stdio/" } else { &self.url };
        let target = match &self.ca {
            None => Target::parse(url, self.token)?,
            Some(ca) => Target::parse_trusting(url, self.token, Trust::of(ca)?)?,
        };
        let arguments = load::json_or_file(&self.input)?;
        Ok(Load {
            target: Target { era: self.era, revision: self.revision, accept: self.accept, ..target },
            ask: Ask { method: self.method, tool: self.tool, arguments, hears_progress: false },
            work: self.work,
            answers: self.answers,
            connections: self.connections,
            warmup: Duration::from_millis(self.warmup_ms),
            duration: Duration::from_millis(self.duration_ms),
            process: self.pid,
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let measured = match arguments.program() {
        Some(words) => load::lines::run(&words, &arguments.load()?)?,
        None => load::run(arguments.load()?).await?,
    };
    hayward_peers::answer(&measured)
}
