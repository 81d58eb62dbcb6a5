//! Python environments: one folder per set of pinned requirements.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{ensure_debian, interop, once_per_pins};
use crate::{output, step, workspace};

/// What wheels are built for, the C library of Debian 12 or an older one.
const PLATFORMS: [&str; 4] = ["manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34"];

/// An environment with its packages.
pub(crate) struct Python {
    /// Its folder of programs.
    pub(crate) bin: PathBuf,
}

impl Python {
    /// The environment of the real clients.
    pub(crate) fn clients() -> Result<Self> {
        let pins = std::fs::read_to_string(interop().join("requirements.txt"))
            .context("failed to read `testkit/interop/requirements.txt`")?;
        Self::install("python", &pins)
    }

    /// Makes the environment `name` hold exactly `pins` (the text of a requirements file).
    pub(crate) fn install(name: &str, pins: &str) -> Result<Self> {
        let folder = workspace::cache().join(name);
        let bin = folder.join("bin");
        once_per_pins(&folder, pins, || {
            output::note(format!("installing the Python environment `{name}` (once)"));
            ensure_debian(&[("python3", "python3")])?;
            make_environment(&folder)?;
            let list = folder.join("requirements.txt");
            std::fs::write(&list, pins).context("failed to write the requirements")?;
            let mut pip = step::command(bin.join("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
            step::run(pip.arg(&list)).context("failed to install Python packages")
        })?;
        Ok(Self { bin })
    }

    /// A folder with `pins` (the text of a requirements file) and what they need as wheels, for this `version` of Python
    /// on a Linux of 2022 or later that has no network.
    pub(crate) fn wheels(name: &str, pins: &str, version: &str) -> Result<PathBuf> {
        let folder = workspace::cache().join(name);
        let wheels = folder.join("wheels");
        once_per_pins(&folder, &format!("{version}\n{pins}"), || {
            output::note(format!("fetching the Python packages `{name}` (once)"));
            ensure_debian(&[("python3", "python3")])?;
            let environment = folder.join("environment");
            make_environment(&environment)?;
            let list = folder.join("requirements.txt");
            std::fs::write(&list, pins).context("failed to write the requirements")?;
            let mut pip = step::command(environment.join("bin/python"));
            pip.args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary=:all:",
            ]);
            pip.args(["--python-version", version, "--implementation", "cp"]);
            for platform in PLATFORMS {
                pip.arg("--platform").arg(format!("{platform}_{}", std::env::consts::ARCH));
            }
            pip.arg("--dest").arg(&wheels).arg("-r").arg(&list);
            step::run(&mut pip).context("failed to fetch Python packages")
        })?;
        Ok(wheels)
    }

    /// The interpreter.
    pub(crate) fn program(&self) -> PathBuf {
        self.bin.join("python")
    }
}

/// Debian ships `venv` without the part that makes one; that part is a package of its own.
fn make_environment(folder: &PathBuf) -> Result<()> {
    let can_make = step::output_of(step::command("python3").args(["-c", "import ensurepip"]))?;
    if !can_make.status.success() {
        ensure_debian(&[("python3-with-ensurepip", "python3-venv")])?;
    }
    step::run(step::command("python3").args(["-m", "venv"]).arg(folder))
        .context("failed to make a Python environment")
}
