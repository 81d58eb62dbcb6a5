//! Packages as instances: fetched without running them, and started without a network.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayward_exec::{Confined, User};
use hayward_mcp::request::List;
use hayward_runtime::Packages;
use hayward_runtime::placement::{End, Placement as _, PlacementError};
use hayward_runtime::placements::process::Process;
use hayward_testkit::installed::leave_out;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::place::{Place, call, connect, ended, order, said, start};
use super::registry::{Registry, SERVER};

fn placement(place: &Place, packages: Packages) -> Process {
    let folder = place.folder.path().join("packages");
    place.placement(Confined::default()).with_packages(Packages { folder, ..packages })
}

/// A placement whose packages come from this registry.
fn from(place: &Place, registry: &Registry) -> Process {
    placement(place, Packages { npm_registry: Some(registry.url.clone()), ..Packages::default() })
}

fn described() -> Value {
    json!({"name": "@tests/packed", "version": "1.0.0", "bin": {"packed": "./server.js"},
        "scripts": {"preinstall": "touch postinstall-ran", "postinstall": "touch postinstall-ran"}})
}

fn packed() -> Value {
    json!({"packageName": "@tests/packed@1.0.0", "resources": {"memoryMib": 1024, "cpus": 2.0}})
}

/// What is in the folder of this place's packages of npm.
fn kept(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.folder.path().join("packages/node"));
    let mut paths: Vec<_> = entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_there(program: &str) -> bool {
    let is_there =
        ["/usr/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !is_there {
        leave_out(&format!("`{program}` is not there"));
    }
    is_there
}

#[tokio::test]
async fn a_package_is_fetched_once_without_its_scripts_and_started_read_only() {
    if !is_there("npm") {
        return;
    }
    let place = Place::new();
    let registry = Registry::serving(&place.executor, described(), &[("server.js", SERVER)]).await;
    let process = from(&place, &registry);
    let both = tokio::join!(
        start(&process, order("packed-0", &packed())),
        start(&process, order("packed-1", &packed()))
    );
    assert_eq!(registry.tarballs(), 1);
    for (running, stop) in [both.0, both.1] {
        let upstream = connect(&running).await.unwrap();
        assert_eq!(upstream.list(List::Tools).await.unwrap().unwrap().elements.len(), 1);
        stop.cancel();
        let (end, log) = ended(running).await;
        let said = said(&log);
        assert_eq!(end, End::Stopped, "{said:?}");
        let has = |line: &str| said.iter().any(|it| it == line);
        assert!(has("ran postinstall: false") && has("read only"), "{said:?}");
    }
    // The whole one and its lock; nothing of what was of use for fetching.
    assert_eq!(kept(&place).len(), 2, "{:?}", kept(&place));
    place.end().await;
}

#[tokio::test]
async fn a_package_is_fetched_and_started_as_whom_an_instance_becomes() {
    if !is_there("npm") || std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: nobody but root becomes another user");
        return;
    }
    let place = Place::new();
    let registry = Registry::serving(&place.executor, described(), &[("server.js", SERVER)]).await;
    let user = Some(User { uid: 65_534, gid: 65_534 });
    let process = place.placement(Confined { user, ..Confined::default() }).with_packages(Packages {
        folder: place.folder.path().join("packages"),
        npm_registry: Some(registry.url.clone()),
        ..Packages::default()
    });
    let (running, stop) = start(&process, order("packed-0", &packed())).await;
    connect(&running).await.unwrap();
    stop.cancel();
    let (end, log) = ended(running).await;
    assert_eq!(end, End::Stopped, "{:?}", said(&log));
    place.end().await;
}

#[tokio::test]
async fn what_was_fetched_and_changed_since_is_refused_until_it_is_fetched_again_as_it_was() {
    if !is_there("npm") {
        return;
    }
    let place = Place::new();
    let files = [("server.js", SERVER)];
    let registry = Registry::serving(&place.executor, described(), &files).await;
    let process = from(&place, &registry);
    let (running, stop) = start(&process, order("packed-0", &packed())).await;
    stop.cancel();
    ended(running).await;
    let whole = kept(&place).into_iter().find(|path| path.is_dir()).unwrap();
    let file = whole.join("tree/node_modules/@tests/packed/server.js");
    std::fs::write(&file, format!("{SERVER}//")).unwrap();
    let refused = process.start(order("packed-0", &packed()), CancellationToken::new()).await;
    assert!(matches!(refused, Err(PlacementError::Tampered { .. })), "{refused:?}");
    // Fetched again it is the same: the lock says so, whatever the registry has now.
    process.forget_packages(&[&serde_json::from_value(packed()).unwrap()], Duration::ZERO).await;
    assert_eq!(kept(&place).len(), 2);
    process.forget_packages(&[], Duration::from_mins(1)).await;
    assert_eq!(kept(&place).len(), 2, "it was used a moment ago");
    process.forget_packages(&[], Duration::ZERO).await;
    assert_eq!(kept(&place).len(), 1);
    registry.replace(&place.executor, described(), &[("server.js", "process.exit(1)")]).await;
    let refused = process.start(order("packed-0", &packed()), CancellationToken::new()).await;
    let Err(PlacementError::Fetch { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("EINTEGRITY"), "{why}");
    assert_eq!(kept(&place).len(), 1);
    registry.replace(&place.executor, described(), &files).await;
    let (running, stop) = start(&process, order("packed-0", &packed())).await;
    connect(&running).await.unwrap();
    // What runs has its package, whoever declares it or doesn't any more.
    process.forget_packages(&[], Duration::ZERO).await;
    assert_eq!(kept(&place).len(), 2);
    stop.cancel();
    ended(running).await;
    process.forget_packages(&[], Duration::ZERO).await;
    assert_eq!(kept(&place).len(), 1);
    place.end().await;
}

#[tokio::test]
async fn a_package_without_a_program_says_so() {
    if !is_there("npm") {
        return;
    }
    let place = Place::new();
    for (bin, why) in [
        (json!(null), "no `bin`"),
        (json!("./absent.js"), "no file of it"),
        (json!("../../../../etc/passwd"), "no file of it"),
        (json!({"a": "a.js", "b": "b.js"}), "several programs"),
    ] {
        let mut described = described();
        described["bin"] = bin;
        let registry = Registry::serving(&place.executor, described, &[("server.js", SERVER)]).await;
        let process = from(&place, &registry);
        let refused =
            process.start(order("packed-0", &packed()), CancellationToken::new()).await.unwrap_err();
        assert!(matches!(refused, PlacementError::Unfit { .. }), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
        std::fs::remove_dir_all(place.folder.path().join("packages")).unwrap();
    }
    place.end().await;
}

#[tokio::test]
async fn what_cannot_be_fetched_says_why_and_leaves_nothing() {
    if !is_there("npm") {
        return;
    }
    let place = Place::new();
    let registry = Registry::serving(&place.executor, described(), &[]).await;
    let process = from(&place, &registry);
    let absent = json!({"packageName": "absent@1.0.0"});
    let refused = process.start(order("absent-0", &absent), CancellationToken::new()).await;
    let Err(PlacementError::Fetch { why, .. }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("404") && !why.contains(char::is_control), "{why}");
    // Nobody answers there: it would take minutes.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let process = placement(&place, Packages { npm_registry: Some(url), ..Packages::default() });
    let stop = CancellationToken::new();
    let starting = process.start(order("packed-0", &packed()), stop.clone());
    let (refused, ()) = tokio::join!(starting, async {
        drop(silent.accept().await.unwrap());
        stop.cancel();
    });
    assert!(matches!(refused, Err(PlacementError::Stopped)), "{refused:?}");
    assert_eq!(kept(&place), [] as [PathBuf; 0]);
    place.end().await;
}

#[tokio::test]
async fn what_must_not_be_started_is_refused_before_anything_is_fetched() {
    let place = Place::new();
    let process = placement(&place, Packages::default());
    for package in ["x", "x@latest", "x@^1.0.0", "@s/x", "x@file:/etc"] {
        let spec = json!({"packageName": package});
        let refused = process.start(order("x-0", &spec), CancellationToken::new()).await;
        assert!(matches!(refused, Err(PlacementError::Unpinned { .. })), "{package}: {refused:?}");
    }
    for name in ["LD_PRELOAD", "NODE_OPTIONS", "npm_config_registry", "PATH"] {
        for spec in [packed(), json!({"command": ["sh"]})] {
            let mut order = order("x-0", &spec);
            order.env.push((name.to_owned(), "x".to_owned()));
            let refused = process.start(order, CancellationToken::new()).await.unwrap_err();
            assert!(matches!(refused, PlacementError::Unfit { .. }), "{refused}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }
    assert_eq!(kept(&place), [] as [PathBuf; 0]);
    place.end().await;
}

/// What the machine says of where packages come from.
#[expect(clippy::disallowed_methods, reason = "how a test is told where packages come from")]
async fn real(place: &Place) -> Packages {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let home = said("HOME").unwrap_or_default();
    let told = |command: &'static str| {
        let command = format!("HOME='{home}' {command} 2>/dev/null || true");
        async move {
            let text = super::registry::run(&place.executor, Path::new("/"), &["sh", "-c", &command]).await;
            Some(text.trim().to_owned()).filter(|text| text.starts_with("http"))
        }
    };
    Packages {
        folder: PathBuf::new(),
        npm_registry: told("npm config get registry").await,
        python_index: match said("PIP_INDEX_URL") {
            Some(index) => Some(index),
            None => told("python3 -m pip config get global.index-url").await,
        },
        certificates: said("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file()),
    }
}

/// Starts a real package; none where its registry can't be reached.
async fn is_spoken_to(spec: &Value, tool: &str, arguments: Value) -> Option<Value> {
    let place = Place::new();
    let process = placement(&place, real(&place).await);
    let mut last = None;
    // The second one is fetched by the lock of the first.
    for name in ["real-0", "real-1"] {
        let stop = CancellationToken::new();
        let running = match process.start(order(name, spec), stop.clone()).await {
            Ok(running) => running,
            Err(error @ PlacementError::Fetch { .. }) => {
                leave_out(&error.to_string());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let upstream = match connect(&running).await {
            Ok(upstream) => upstream,
            Err(error) => {
                let (end, log) = ended(running).await;
                panic!("{error}: {end:?} {:?}", said(&log))
            }
        };
        last = Some(call(&upstream, tool, arguments.clone()).await);
        stop.cancel();
        ended(running).await;
        process.forget_packages(&[], Duration::ZERO).await;
    }
    place.end().await;
    last
}

#[tokio::test]
async fn server_everything_is_fetched_from_its_registry_and_spoken_to() {
    if !is_there("npm") {
        return;
    }
    let spec = json!({"packageName": "@modelcontextprotocol/server-everything@2026.1.14", "args": ["stdio"],
        "resources": {"memoryMib": 1024, "cpus": 2.0}});
    if let Some(answer) = is_spoken_to(&spec, "echo", json!({"message": "hi"})).await {
        assert_eq!(answer["content"][0]["text"], "Echo: hi");
    }
}

#[tokio::test]
async fn mcp_server_time_is_fetched_from_its_index_and_spoken_to() {
    if !is_there("python3") {
        return;
    }
    let spec = json!({"packageName": "mcp-server-time==2026.10.19", "runtime": "python",
        "args": ["--local-timezone", "UTC"], "resources": {"memoryMib": 1024, "cpus": 2.0}});
    if let Some(answer) = is_spoken_to(&spec, "get_current_time", json!({"timezone": "UTC"})).await {
        assert!(answer["content"][0]["text"].as_str().unwrap().contains("UTC"), "{answer}");
    }
}
