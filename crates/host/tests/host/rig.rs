//! A host with a directory to work in and data to protect, and calls of its tools.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Fence, Principal, Tier};
use hayward_exec::{Choice, Executor, SupervisorCommand};
use hayward_host::{Host, HostConfig, Limits, toolset};
use hayward_mcp::json::Raw;
use hayward_tool::{Call, Cx, Outcome, Reply, Tool, Toolset, Verdict};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A host. Its data directory holds `secret.db`, `audit/1.log`; `work` is free to use.
pub(crate) struct Rig {
    pub(crate) toolset: Toolset,
    pub(crate) executor: Executor,
    root: TempDir,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) is_error: bool,
    /// The text block as it stands.
    pub(crate) raw: String,
    /// The JSON of the text block, or the text itself.
    pub(crate) text: Value,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A host whose configuration was touched up.
    pub(crate) fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let root = TempDir::new().unwrap();
        std::fs::create_dir_all(root.path().join("data/audit")).unwrap();
        std::fs::create_dir_all(root.path().join("work")).unwrap();
        put(&root.path().join("data/secret.db"), "the secret\n");
        put(&root.path().join("data/audit/1.log"), "the secret\n");
        let executor = Executor::new(hayward_exec::Config {
            supervisor: SupervisorCommand {
                program: env!("CARGO_BIN_EXE_host_supervise").into(),
                args: Vec::new(),
            },
            containment: Choice::Detect,
            limits: hayward_exec::Limits::default(),
            protected: vec![root.path().join("data")],
            spool: None,
        });
        let mut config = HostConfig {
            transfers: Some(hayward_host::TransferConfig::default()),
            limits: Limits::default(),
            protected: vec![root.path().join("data")],
            extra_protected: Vec::new(),
            sync_files: true,
            shell: "/bin/sh".into(),
            executor: executor.clone(),
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
        };
        change(&mut config);
        Self { toolset: toolset(Arc::new(Host::new(config))), executor, root }
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.path().join("data").join(name)
    }

    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// Makes a file in `work`.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(&path, content);
        path
    }

    pub(crate) fn tool(&self, name: &str) -> &Arc<dyn Tool> {
        let mut tools = self.toolset.tools.iter();
        tools.find(|tool| tool.descriptor().name.as_str() == name).unwrap()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        let cx = Cx::new(Duration::from_mins(1), CancellationToken::new());
        self.call_within(&cx, tool, arguments).await
    }

    /// The same by a caller with this fence.
    pub(crate) async fn call_as(&self, fence: Fence, tool: &str, arguments: Value) -> Answer {
        let cx = Cx::new(Duration::from_mins(1), CancellationToken::new());
        let principal = Principal { fence, ..Principal::local("test", Tier::Operate) };
        self.call_by(principal, &cx, tool, arguments).await
    }

    pub(crate) async fn call_within(&self, cx: &Cx, tool: &str, arguments: Value) -> Answer {
        self.call_by(Principal::local("test", Tier::Operate), cx, tool, arguments).await
    }

    async fn call_by(&self, principal: Principal, cx: &Cx, tool: &str, arguments: Value) -> Answer {
        let tool = self.tool(tool);
        let call = Call::of_tool(
            tool.descriptor().name.as_str(),
            Raw::of(&arguments).unwrap(),
            principal,
            Duration::from_mins(1),
        );
        Answer::of(&tool.call(cx, call).await)
    }

    /// Calls a tool that must succeed; returns its value.
    pub(crate) async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert!(!answer.is_error, "{answer:?}");
        answer.text
    }

    /// Calls a tool that must fail; returns the code of the failure. Every failure has a hint.
    pub(crate) async fn code(&self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments).await;
        assert!(answer.is_error, "{answer:?}");
        assert_eq!(answer.text["success"], false, "{answer:?}");
        assert!(answer.text["suggestion"].is_string(), "{answer:?}");
        answer.text["error"].as_str().unwrap().to_owned()
    }

    /// Names left behind by writes that were not cleaned up.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.work("")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".hayward-")).collect()
    }
}

impl Answer {
    fn of(outcome: &Outcome) -> Self {
        let Reply::Result(raw) = &outcome.reply else { panic!("{outcome:?}") };
        let result: Value = raw.view().unwrap();
        let raw = result["content"][0]["text"].as_str().unwrap().to_owned();
        let text = serde_json::from_str(&raw).unwrap_or_else(|_| raw.clone().into());
        if result["isError"] == false {
            assert_eq!(result["structuredContent"], text, "the text is the structure");
        }
        Self { verdict: outcome.verdict.clone(), is_error: result["isError"] == true, raw, text }
    }
}

/// Makes a file.
pub(crate) fn put(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::write(path, content).unwrap();
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs a command that a test needs; says why the test is skipped if it can't be.
#[expect(clippy::disallowed_methods, reason = "a fixture, not a job")]
pub(crate) fn run(program: &str, args: &[&str]) -> bool {
    match std::process::Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("skipped: {program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            println!("skipped: {program}: {error}");
            false
        }
    }
}

/// A small file system of its own, unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A tmpfs of so many bytes, or nothing where mounting isn't allowed.
    pub(crate) fn tmpfs(path: &Path, bytes: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={bytes}");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs", text(path)];
        (is_root() && run("mount", &args)).then(|| Self(path.to_owned())).or_else(skipped)
    }

    pub(crate) fn bind(from: &Path, to: &Path) -> Option<Self> {
        let args = ["--bind", text(from), text(to)];
        (is_root() && run("mount", &args)).then(|| Self(to.to_owned())).or_else(skipped)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.0)]);
    }
}

fn skipped<T>() -> Option<T> {
    println!("skipped: mounting needs root");
    None
}
