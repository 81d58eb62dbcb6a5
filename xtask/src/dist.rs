//! `cargo xtask dist`: what is handed out, in `target/dist`.
//!
//! ```text
//!  build ─► static binary ─┬─► contents ─► tree ─► tarball
//!        │                 └───────────────► tree ─► what an image is built of
//!        └► linked binary ───► contents ─► tree ─► Debian package
//! ```
//!
//! Contents are what goes along, made by the binary. The same binaries give the same packages, byte by byte: everything in them has the time of the commit, root as
//! its owner, and its place by name. It must not hold what the binary can say itself.

mod build;
mod check;
mod container;
mod contents;
mod deb;
mod tarball;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{output, step, toolbox, workspace};
use build::Binaries;

/// The version that is packed: all crates have one.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What packing takes beside Rust, and its Debian packages.
const PROGRAMS: [(&str, &str); 7] = [
    ("dpkg-deb", "dpkg"),
    ("git", "git"),
    ("gzip", "gzip"),
    ("musl-gcc", "musl-tools"),
    ("readelf", "binutils"),
    ("sha256sum", "coreutils"),
    ("tar", "tar"),
];

/// What to do with the packages.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install and use them: in a clean Debian, in an empty directory, in a container. Takes root.
    #[arg(long)]
    check: bool,
}

/// The packages.
pub(crate) struct Packages {
    binaries: Binaries,
    tarball: PathBuf,
    deb: PathBuf,
    /// The folder that an image is built of.
    context: PathBuf,
}

/// Makes the packages; with `--check` tries them, too.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    let packages = made()?;
    told(&sizes(&packages)?);
    Ok(())
}

/// Makes the packages and tries them.
pub(crate) fn check() -> Result<()> {
    check::prepare()?;
    let packages = made()?;
    let mut lines = check::of(&packages)?;
    lines.extend(sizes(&packages)?);
    told(&lines);
    let page = folder().join("check.txt");
    fs::write(&page, lines.join("\n") + "\n").with_context(|| format!("failed to write `{}`", page.display()))
}

fn folder() -> PathBuf {
    workspace::target().join("dist")
}

/// Builds and packs.
fn made() -> Result<Packages> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("packages are made on x86_64 alone: the binary itself says what goes along with it");
    }
    toolbox::ensure_debian(&PROGRAMS)?;
    output::step("binaries");
    let binaries = build::binaries()?;
    output::step("packages");
    let packages = packed(&folder(), &binaries, epoch()?)?;
    let names = [name_of(&packages.deb)?, name_of(&packages.tarball)?];
    let sums = step::capture(step::command("sha256sum").args(names).current_dir(folder()))?;
    fs::write(folder().join("SHA256SUMS"), sums).context("failed to write SHA256SUMS")?;
    output::note(format!("wrote {}", folder().display()));
    Ok(packages)
}

/// Packs these binaries into `folder`, everything with this time.
fn packed(folder: &Path, binaries: &Binaries, epoch: u64) -> Result<Packages> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    Ok(Packages {
        tarball: tarball::make(folder, &binaries.alone, epoch)?,
        deb: deb::make(folder, &binaries.linked, epoch)?,
        context: container::context(folder, &binaries.alone, epoch)?,
        binaries: binaries.clone(),
    })
}

/// The time that everything has: `SOURCE_DATE_EPOCH`, else that of the commit, in seconds.
fn epoch() -> Result<u64> {
    let text = match workspace::variable("SOURCE_DATE_EPOCH") {
        Some(value) => value.to_string_lossy().into_owned(),
        None => step::capture(step::command("git").args(["log", "-1", "--format=%ct"]))
            .context("there is no commit to take the time of; hint: set SOURCE_DATE_EPOCH")?,
    };
    text.trim().parse().with_context(|| format!("`{}` is no time in seconds", text.trim()))
}

/// A folder beside what is made, gone at the end.
fn scratch(beside: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".scratch-").tempdir_in(beside).context("failed to make a scratch folder")
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().context("a package has a name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// How large everything is.
fn sizes(packages: &Packages) -> Result<Vec<String>> {
    let Packages { binaries, tarball, deb, .. } = packages;
    let files = [
        ("static binary", &binaries.alone),
        ("linked binary", &binaries.linked),
        ("tarball", tarball),
        ("Debian package", deb),
    ];
    files.into_iter().map(|(what, path)| Ok(size(what, file_bytes(path)?))).collect()
}

fn file_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| format!("there is no `{}`", path.display()))?;
    Ok(metadata.len())
}

fn size(what: &str, bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size of megabytes")]
    let mib = bytes as f64 / f64::from(1 << 20);
    format!("size  {what}: {mib:.1} MiB")
}

fn told(lines: &[String]) {
    output::step("dist");
    lines.iter().for_each(output::line);
}
