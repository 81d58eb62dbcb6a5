//! A service, installed below a directory that stands for `/`, and removed again.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use hayward_testkit::daemon::{Daemon, command};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");
const UNIT: &str = "etc/systemd/system/hayward.service";

struct Rig {
    dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn run(&self, args: &[&str]) -> Output {
        let root = self.dir.path().display().to_string();
        command(BINARY, [&args[..1], &["--root", &root], &args[1..]].concat()).output().unwrap()
    }

    fn good(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert!(output.status.success(), "{}", told(&output));
        output
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().permissions().mode() & 0o777
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn what_is_installed_serves_with_its_file_and_its_token() {
    let rig = Rig::new();
    let output = rig.good(&["install-service", "--yes", "--port", "9000"]);
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(token.starts_with("hwd_admin_") && !told(&output).contains(&token));
    let config = fs::read_to_string(rig.at("etc/hayward/hayward.toml")).unwrap();
    for line in [
        "host = \"127.0.0.1\"",
        "port = 9000",
        "data.dir = \"/var/lib/hayward\"",
        "log.dir = \"/var/log/hayward\"",
    ] {
        assert!(config.lines().any(|found| found == line), "{config}");
    }
    assert_eq!((rig.mode("var/lib/hayward"), rig.mode("etc/hayward/hayward.env")), (0o700, 0o600));
    assert_eq!((rig.mode("var/log/hayward"), rig.mode(UNIT)), (0o750, 0o644));

    let file = rig.at("etc/hayward/hayward.toml").display().to_string();
    let log = rig.at("var/log/hayward").display().to_string();
    let daemon =
        Daemon::start(BINARY, &rig.at("var/lib/hayward"), &["--config", &file, "--log-dir", &log]).unwrap();
    assert_eq!(daemon.send("GET", "/admin/tokens", &token, "").await.unwrap().status, 200);
}

#[test]
fn a_second_time_writes_the_unit_and_keeps_everything_else() {
    let rig = Rig::new();
    rig.good(&["install-service", "--yes"]);
    fs::write(rig.at("etc/hayward/hayward.toml"), "port = 1\n").unwrap();
    let again = rig.good(&["install-service", "--yes", "--profile", "gateway", "--no-audit"]);
    assert!(again.stdout.is_empty(), "no second admin token");
    assert!(told(&again).contains("hayward.toml stays as it is"), "{}", told(&again));
    assert_eq!(fs::read_to_string(rig.at("etc/hayward/hayward.toml")).unwrap(), "port = 1\n");
    let unit = fs::read_to_string(rig.at(UNIT)).unwrap();
    assert!(unit.contains("User=hayward\n") && unit.contains("ReadWritePaths=\"/var/lib/hayward\"\n"));
}

#[test]
fn a_dry_run_shows_the_unit_and_changes_nothing() {
    let rig = Rig::new();
    let output =
        rig.good(&["install-service", "--dry-run", "--service-user", "mcp", "--config-dir", "/etc/x y"]);
    let unit = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        unit.contains("User=mcp\n") && unit.contains("Environment=\"HAYWARD_CONFIG=/etc/x y/hayward.toml\"")
    );
    assert!(
        told(&output).contains("make the system user `mcp`")
            && told(&output).contains("run systemctl enable")
    );
    rig.good(&["uninstall-service", "--dry-run"]);
    let purged = told(&rig.good(&["uninstall-service", "--dry-run", "--purge"]));
    assert!(purged.contains("run systemctl kill --kill-whom=all --signal=KILL hayward.service"), "{purged}");
    assert!(!purged.contains("system user"), "users elsewhere are somebody else's: {purged}");
    assert_eq!(fs::read_dir(rig.dir.path()).unwrap().count(), 0);
}

#[test]
fn what_packages_bring_is_printed_and_nothing_changes() {
    let print = |args: &[&str]| command(BINARY, [&["install-service"], args].concat()).output().unwrap();
    for (file, line) in [
        ("unit", "Environment=\"HAYWARD_CONFIG=/etc/hayward/hayward.toml\""),
        ("user-unit", "EnvironmentFile=-%E/hayward/hayward.env"),
        ("config", "data.dir = \"/var/lib/hayward\""),
    ] {
        let output = print(&["--program", "/usr/bin/hayward", "--print", file]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.lines().any(|found| found == line), "{file} {text}");
        assert_eq!(text.contains("ExecStart=\"/usr/bin/hayward\" serve\n"), file != "config", "{text}");
    }
    for args in [
        &["--print", "unit", "--yes"][..],
        &["--print", "unit", "--root", "/tmp/x"],
        &["--print", "else"],
        &["--print", "unit", "--program", "bin/hayward"],
        &["--print", "unit", "--program", "/usr/../hayward"],
    ] {
        assert_eq!(print(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn what_is_removed_is_asked_for_and_hayward_s_own() {
    let rig = Rig::new();
    rig.good(&["install-service", "--yes"]);
    let refused = rig.run(&["uninstall-service"]);
    assert!(!refused.status.success() && told(&refused).contains("--yes"));
    rig.good(&["uninstall-service", "--yes"]);
    assert!(!rig.at(UNIT).exists() && rig.at("var/lib/hayward/hayward.db").exists());

    rig.good(&["install-service", "--yes"]);
    fs::create_dir_all(rig.at("srv/mine")).unwrap();
    fs::write(rig.at("srv/mine/photo"), "x").unwrap();
    for flag in ["--data-dir", "--config-dir", "--log-dir"] {
        let refused = rig.run(&["uninstall-service", "--yes", "--purge", flag, "/srv/mine"]);
        assert!(!refused.status.success() && told(&refused).contains("not a directory of Hayward's"));
        assert!(rig.at(UNIT).exists() && rig.at("srv/mine/photo").exists());
    }
    rig.good(&["uninstall-service", "--yes", "--purge"]);
    for gone in [UNIT, "etc/hayward", "var/lib/hayward", "var/log/hayward"] {
        assert!(!rig.at(gone).exists(), "{gone}");
    }
    rig.good(&["uninstall-service", "--yes", "--purge"]);
}

#[test]
fn a_link_out_of_the_root_leads_nowhere() {
    let (rig, outside) = (Rig::new(), tempfile::tempdir().unwrap());
    let theirs = outside.path().join("hayward/hayward.db");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    fs::create_dir_all(rig.at("var")).unwrap();
    symlink(outside.path(), rig.at("var/lib")).unwrap();
    for args in [&["install-service", "--yes"][..], &["uninstall-service", "--yes", "--purge"]] {
        let refused = rig.run(args);
        assert!(!refused.status.success() && told(&refused).contains("out of"), "{}", told(&refused));
    }
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    assert!(!rig.at(UNIT).exists());
    // One that stays within is the image's own affair.
    fs::remove_file(rig.at("var/lib")).unwrap();
    fs::create_dir_all(rig.at("srv")).unwrap();
    symlink("../srv", rig.at("var/lib")).unwrap();
    rig.good(&["install-service", "--yes"]);
    assert!(rig.at("srv/hayward/hayward.db").exists());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let rig = Rig::new();
    for args in [
        &["--data-dir", "/"][..],
        &["--data-dir", "/var"],
        &["--log-dir", "log"],
        &["--config-dir", "/etc/../x"],
        &["--service-user", "a b"],
        &["--service-user", "root\nUser=x"],
        &["--port", "70000"],
        &["--profile", "huge"],
    ] {
        let output = rig.run(&[&["install-service", "--yes"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", told(&output));
    }
    fs::create_dir_all(rig.at("etc/systemd/system")).unwrap();
    fs::write(rig.at(UNIT), "[Unit]\n").unwrap();
    for command in ["install-service", "uninstall-service"] {
        let output = rig.run(&[command, "--yes"]);
        assert!(!output.status.success() && told(&output).contains("was not written by Hayward"));
    }
    assert_eq!(fs::read_to_string(rig.at(UNIT)).unwrap(), "[Unit]\n");
}

#[test]
fn without_systemd_it_is_refused_politely() {
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    for args in [["install-service", "--yes"], ["uninstall-service", "--yes"]] {
        let output = command(BINARY, args).output().unwrap();
        assert!(!output.status.success());
        let told = told(&output);
        assert!(told.contains("no systemd runs here") && told.contains("hint: "), "{told}");
    }
}

#[test]
fn systemd_takes_both_units_and_finds_the_gateway_s_exposure_small() {
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    for (profile, threshold) in [("gateway", "20"), ("host", "100")] {
        let rig = Rig::new();
        rig.good(&["install-service", "--yes", "--profile", profile]);
        let unit = rig.at(UNIT).display().to_string();
        let run = |args: &[&str]| command(analyze.to_str().unwrap(), args).output().unwrap();
        let verified = run(&["verify", "--man=no", &unit]);
        let odd: Vec<String> = told(&verified)
            .lines()
            .filter(|line| line.contains("hayward.service"))
            .map(str::to_owned)
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
        let judged = run(&["security", "--offline=true", "--no-pager", "--threshold", threshold, &unit]);
        assert!(judged.status.success(), "{}{}", String::from_utf8_lossy(&judged.stdout), told(&judged));
    }
}

#[test]
fn a_database_on_a_server_is_asked_before_anything_is_changed() {
    let rig = Rig::new();
    let refused =
        rig.run(&["install-service", "--yes", "--database-url", "postgres://a:s3cretPw@127.0.0.1:1/d"]);
    assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
    assert!(told(&refused).contains("hint: ") && !told(&refused).contains("s3cretPw"), "{}", told(&refused));
    assert_eq!(fs::read_dir(rig.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_database_that_the_files_do_not_name_is_refused_and_what_was_kept_beside_one_is_hayward_s() {
    let rig = Rig::new();
    rig.good(&["install-service", "--yes"]);
    let refused = rig.run(&["install-service", "--yes", "--database-url", "postgres://a@127.0.0.1:1/d"]);
    assert!(!refused.status.success() && told(&refused).contains("hayward.env"), "{}", told(&refused));
    fs::remove_file(rig.at("var/lib/hayward/hayward.db")).unwrap();
    rig.good(&["uninstall-service", "--yes", "--purge"]);
    assert!(!rig.at("var/lib/hayward").exists());
}
