//! What every placement promises, whatever its instances are.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::definition::Mount;
use hayward_egress::Client;
use hayward_exec::Confined;
use hayward_mcp::request::List;
use hayward_mcp::upstream::BoxFuture;
use hayward_runtime::Dial;
use hayward_runtime::placement::{End, Order, Placement, PlacementError};
use hayward_runtime::placements::docker::Docker;
use hayward_runtime::placements::remote::Remote;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, IMAGE};
use super::place::{PATIENCE, Place, connect, ended, order, said, start};

/// A server that a bare shell can be.
const SERVER: &str = r#"
trap 'exit 0' TERM
echo up >&2
while read -r line; do
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
    result=
    case $line in
    *'"method":"notifications'*) continue ;;
    *'"method":"initialize"'*)
        result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/list"'*) result='{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}' ;;
    esac
    case $result in
    '') echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no such method\"}}" ;;
    *) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}" ;;
    esac
done
"#;

/// A placement that starts something.
trait Starts: Sync {
    fn placement(&self) -> &dyn Placement;

    /// An order of what runs this script.
    fn order(&self, name: &str, script: &str) -> Order;

    /// What is left of instances.
    fn left(&self) -> BoxFuture<'_, Vec<String>>;
}

struct Processes<'a>(&'a Place, hayward_runtime::placements::process::Process);

impl Starts for Processes<'_> {
    fn placement(&self) -> &dyn Placement {
        &self.1
    }

    fn order(&self, name: &str, script: &str) -> Order {
        order(name, &json!({"command": ["sh", "-c", script]}))
    }

    fn left(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { self.0.homes().into_iter().map(|path| path.display().to_string()).collect() })
    }
}

struct Containers<'a>(&'a Engine, Docker);

impl Starts for Containers<'_> {
    fn placement(&self) -> &dyn Placement {
        &self.1
    }

    fn order(&self, name: &str, script: &str) -> Order {
        order(name, &json!({"dockerImage": IMAGE, "command": ["/bin/sh", "-c", script]}))
    }

    fn left(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let ids = self.0.docker(&["ps", "--all", "--quiet"]).await;
            ids.lines().map(ToOwned::to_owned).collect()
        })
    }
}

async fn is_kept(starts: &dyn Starts) {
    is_spoken_to_and_ends_at_stop(starts).await;
    says_how_it_ended(starts).await;
    shows_of_the_machine_what_is_said(starts).await;
    ends_when_nobody_waits(starts).await;
    refuses_what_it_cannot_run(starts.placement(), &starts.order("x-0", "true").spec, starts).await;
}

async fn is_spoken_to_and_ends_at_stop(starts: &dyn Starts) {
    let (running, stop) = start(starts.placement(), starts.order("spoken-0", SERVER)).await;
    let upstream = match connect(&running).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let (end, log) = ended(running).await;
            panic!("{error}: {end:?} {:?}", said(&log))
        }
    };
    assert_eq!(upstream.list(List::Tools).await.unwrap().unwrap().elements.len(), 1);
    assert!(running.access.wire(1024).is_none());
    assert_eq!(starts.left().await.len(), 1);
    stop.cancel();
    let (end, log) = ended(running).await;
    assert_eq!((end, said(&log)), (End::Stopped, vec!["up".to_owned()]));
    assert_eq!(starts.left().await, [] as [String; 0]);
}

async fn says_how_it_ended(starts: &dyn Starts) {
    for (script, expect) in [
        ("echo out of luck >&2; exit 7", End::Exited { code: 7 }),
        ("printf 'out of luck' >&2; exit 0", End::Exited { code: 0 }),
    ] {
        let (running, _stop) = start(starts.placement(), starts.order("dying-0", script)).await;
        let (end, log) = ended(running).await;
        assert_eq!((end, said(&log)), (expect, vec!["out of luck".to_owned()]), "{script}");
        assert_eq!(starts.left().await, [] as [String; 0]);
    }
}

async fn shows_of_the_machine_what_is_said(starts: &dyn Starts) {
    let folder = tempfile::Builder::new().prefix("mounts").tempdir_in("/var/tmp").unwrap();
    let [read, kept, other] = ["read", "kept", "other"].map(|name| folder.path().join(name));
    for path in [&read, &kept, &other] {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("file"), format!("{}\n", path.display())).unwrap();
    }
    let script = format!(
        "cd {}; for name in read kept other; do read -r line < $name/file && echo \"$line\" >&2; \
         (echo changed > $name/file) && echo changed >&2; done; exit 0",
        folder.path().display()
    );
    let mut order = starts.order(
        "mounts-0",
        &format!(
            "exec 3>&2; ({script}) 2>&1 | while read -r line; do case $line in \
         /var*|changed) echo \"$line\" >&3 ;; esac; done"
        ),
    );
    let mount = |path: &std::path::Path, writable| Mount { path: path.display().to_string(), writable };
    let mounts = vec![mount(&read, false), mount(&kept, true)];
    order.spec = Arc::new(hayward_api::kinds::server::ServerSpec { mounts, ..(*order.spec).clone() });
    let (running, _stop) = start(starts.placement(), order.clone()).await;
    let (end, log) = ended(running).await;
    let [read, kept] = [&read, &kept].map(|path| path.display().to_string());
    assert_eq!((end, said(&log)), (End::Exited { code: 0 }, vec![read, kept.clone(), "changed".to_owned()]));
    assert_eq!(std::fs::read_to_string(format!("{kept}/file")).unwrap(), "changed\n");
    // What isn't there is made by nobody.
    std::fs::remove_dir_all(&kept).unwrap();
    let refused = starts.placement().start(order, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, PlacementError::Unfit { .. }), "{refused}");
    assert!(!std::path::Path::new(&kept).exists() && starts.left().await.is_empty());
}

async fn ends_when_nobody_waits(starts: &dyn Starts) {
    let (running, _stop) = start(starts.placement(), starts.order("lonely-0", SERVER)).await;
    assert_eq!(running.log.from(0).await[0].text, "up");
    drop(running);
    let gone = async {
        while !starts.left().await.is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    // Nor is anything left of one that was stopped before it was started.
    let stop = CancellationToken::new();
    stop.cancel();
    match starts.placement().start(starts.order("late-0", SERVER), stop).await {
        Ok(running) => assert_eq!(ended(running).await.0, End::Stopped),
        Err(error) => assert!(matches!(error, PlacementError::Stopped), "{error}"),
    }
    assert_eq!(starts.left().await, [] as [String; 0]);
}

async fn refuses_what_it_cannot_run(
    placement: &dyn Placement,
    good: &hayward_api::kinds::server::ServerSpec,
    starts: &dyn Starts,
) {
    for name in ["a/b", "..", ".hidden", ""] {
        let order = Order { name: name.to_owned(), spec: Arc::new(good.clone()), env: Vec::new() };
        is_unfit(placement, order).await;
    }
    is_unfit(placement, order("away-0", &json!({"externalUrl": "http://127.0.0.1:1/"}))).await;
    assert_eq!(starts.left().await, [] as [String; 0]);
}

async fn is_unfit(placement: &dyn Placement, order: Order) {
    let name = order.name.clone();
    let refused = placement.start(order, CancellationToken::new()).await;
    assert!(matches!(refused, Err(PlacementError::Unfit { .. })), "{name}: {refused:?}");
}

#[tokio::test]
async fn processes_keep_it() {
    let place = Place::new();
    is_kept(&Processes(&place, place.placement(Confined::default()))).await;
    place.end().await;
}

#[tokio::test]
async fn containers_keep_it() {
    let Some(engine) = Engine::start().await else { return };
    is_kept(&Containers(&engine, engine.placement("tests"))).await;
    engine.end().await;
}

#[tokio::test]
async fn what_runs_elsewhere_keeps_what_is_left_of_it() {
    let remote = Remote::new(Arc::new(Dial::new(Client::new(Duration::from_secs(5)))));
    let elsewhere: Value = json!({"externalUrl": "http://127.0.0.1:1/mcp"});
    let (running, stop) = start(&remote, order("away-0", &elsewhere)).await;
    stop.cancel();
    assert_eq!(ended(running).await.0, End::Stopped);
    for spec in
        [json!({"command": ["sh"]}), json!({"externalUrl": "http://127.0.0.1:1/", "transport": "STDIO"})]
    {
        is_unfit(&remote, order("x-0", &spec)).await;
    }
}
