//! Instances that are containers of a real engine: how tightly they are held, over HTTP, and after a daemon died.

use std::time::Duration;

use futures_util::future::join_all;
use hayward_mcp::request::List;
use hayward_mcp::upstream::Upstream;
use hayward_runtime::placement::{Access, End, Placement as _, PlacementError, Running};
use hayward_runtime::placements::docker::EngineError;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, IMAGE};
use super::place::{PATIENCE, connect, ended, order, said, start};

/// A server over HTTP that Perl alone can be.
const SERVER: &str = r#"
use IO::Socket::INET;
$| = 1;
my $listener = IO::Socket::INET->new(LocalPort => 8080, Listen => 8, ReuseAddr => 1) or die "no port: $!";
print STDERR "listening\n";
while (my $peer = $listener->accept) {
    my ($length, $body) = (0, "");
    while (my $line = <$peer>) {
        $length = $1 if $line =~ /^content-length: (\d+)/i;
        last if $line =~ /^\r?$/;
    }
    read $peer, $body, $length;
    my ($id) = $body =~ /"id":("[^"]*"|\d+)/;
    my $result = $body =~ /"method":"initialize"/
        ? '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"perl","version":"1"}}'
        : $body =~ /"method":"tools\/list"/ ? '{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}' : undef;
    my $answer = !defined $id ? "" : defined $result ? qq({"jsonrpc":"2.0","id":$id,"result":$result})
        : qq({"jsonrpc":"2.0","id":$id,"error":{"code":-32601,"message":"no such method"}});
    my $status = defined $id ? "200 OK" : $body ? "202 Accepted" : "405 Method Not Allowed";
    print $peer "HTTP/1.1 $status\r\ncontent-type: application/json\r\ncontent-length: ", length $answer,
        "\r\nconnection: close\r\n\r\n$answer";
    close $peer;
}
"#;

fn http() -> Value {
    json!({"dockerImage": IMAGE, "command": ["/bin/perl", "-e"], "args": [SERVER], "transport": "STREAMABLE_HTTP",
        "containerPort": 8080})
}

/// Speaks to it as soon as it listens.
async fn spoken_to(running: &Running) -> Upstream {
    let connecting = async {
        loop {
            match connect(running).await {
                Ok(upstream) => return upstream,
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    };
    let upstream = timeout(PATIENCE, connecting).await;
    upstream.unwrap_or_else(|error| panic!("{error}: {:?}: {:?}", running.access, said(&running.log)))
}

#[tokio::test]
async fn a_container_is_held_tightly() {
    let Some(engine) = Engine::start().await else { return };
    let docker = engine.placement("tests");
    let script = "echo x > /file 2>/dev/null || echo 'read only' >&2; echo x > /tmp/file && echo 'tmp' >&2; \
        echo \"TOKEN=$TOKEN\" >&2; while read -r line; do case $line in \
        CapBnd*|NoNewPrivs*) echo \"$line\" >&2 ;; esac; done < /proc/self/status; \
        while read -r line; do case $line in *eth0*) echo network >&2 ;; esac; done < /proc/net/dev; read -r line";
    let mut order =
        order("tight-0", &json!({"dockerImage": IMAGE, "command": ["/bin/sh", "-c"], "args": [script]}));
    order.env.push(("TOKEN".to_owned(), "t0k3n".to_owned()));
    let (running, stop) = start(&docker, order).await;
    while said(&running.log).len() < 5 {
        running.log.from(u64::try_from(said(&running.log).len()).unwrap()).await;
    }
    let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.NetworkMode}} \
        {{index .Config.Labels \"hayward.managed\"}} {{index .Config.Labels \"hayward.instance\"}}";
    let told = engine.docker(&["inspect", "--format", format, "hayward.tests.tight-0"]).await;
    assert_eq!(told.trim(), "536870912 500000000 512 none true tight-0");
    let executed =
        docker.exec("tight-0", &["/bin/sh", "-c", "echo well; exit 3"].map(ToOwned::to_owned)).await.unwrap();
    assert_eq!((executed.code, &*executed.output), (Some(3), &b"well\n"[..]));
    stop.cancel();
    let (end, log) = ended(running).await;
    let said = said(&log);
    assert_eq!(end, End::Stopped);
    for line in ["read only", "tmp", "TOKEN=t0k3n", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(said.iter().any(|it| it == line), "{line}: {said:?}");
    }
    assert!(!said.iter().any(|line| line == "network"), "{said:?}");
    engine.end().await;
}

#[tokio::test]
async fn a_server_over_http_is_spoken_to_and_adopted_after_its_daemon_died() {
    let Some(engine) = Engine::start().await else { return };
    let (docker, order) = (engine.placement("tests"), order("http-0", &http()));
    let (running, stop) = start(&docker, order.clone()).await;
    assert!(matches!(running.access, Access::Http(_)));
    let upstream = spoken_to(&running).await;
    assert_eq!(upstream.list(List::Tools).await.unwrap().unwrap().elements.len(), 1);
    let network = "{{.HostConfig.NetworkMode}}";
    let told = engine.docker(&["inspect", "--format", network, "hayward.tests.http-0"]).await;
    assert_eq!(told.trim(), "mcp-servers-internal");
    let mut open = http();
    open["network"] = json!("shared");
    let (other, other_stop) = start(&docker, super::place::order("open-0", &open)).await;
    spoken_to(&other).await;
    let told = engine.docker(&["inspect", "--format", network, "hayward.tests.open-0"]).await;
    assert_eq!(told.trim(), "mcp-servers");
    other_stop.cancel();
    ended(other).await;
    // As after a death: the first one does nothing any more, and another one finds what is left.
    let stdio = json!({"dockerImage": IMAGE, "command": ["/bin/sh", "-c", "read -r line"]});
    let (orphan, _orphan_stop) = start(&docker, super::place::order("orphan-0", &stdio)).await;
    let _dead = (running, orphan);
    let (again, stranger) = (engine.placement("tests"), engine.placement("stranger"));
    stranger.clean_up(&[]).await.unwrap();
    assert_eq!(again.list().await.unwrap().len(), 2);
    again.clean_up(&["http-0"]).await.unwrap();
    let left: Vec<_> = again.list().await.unwrap().into_iter().map(|found| found.instance).collect();
    assert_eq!(left, ["http-0"]);
    let adopt = CancellationToken::new();
    let adopted = again.adopt(order.clone(), adopt.clone()).await.unwrap().unwrap();
    assert_eq!(adopted.log.from(0).await[0].text, "listening");
    spoken_to(&adopted).await;
    adopt.cancel();
    assert_eq!(ended(adopted).await.0, End::Stopped);
    // The one that is dead in name only takes it away, too, and the engine needs a moment for the first of the two.
    let gone = async {
        while !again.list().await.unwrap().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert!(again.adopt(order.clone(), adopt.clone()).await.unwrap().is_none());
    // What would be started otherwise now isn't gone on with.
    let (running, _stop) = start(&again, order.clone()).await;
    let mut changed = order.clone();
    changed.env.push(("TOKEN".to_owned(), "new".to_owned()));
    assert!(again.adopt(changed, CancellationToken::new()).await.unwrap().is_none());
    assert_eq!(again.list().await.unwrap(), []);
    ended(running).await;
    drop(stop);
    engine.end().await;
}

#[tokio::test]
async fn who_starts_at_once_is_in_one_network_and_one_that_was_made_twice_is_removed() {
    let Some(engine) = Engine::start().await else { return };
    let (docker, other) = (engine.placement("tests"), engine.placement("others"));
    let twins =
        async || engine.docker(&["network", "ls", "-q", "--filter", "name=mcp-servers-internal"]).await;
    let starting = ["a-0", "a-1", "a-2"].map(|name| start(&docker, order(name, &http())));
    let started = join_all(starting).await;
    assert_eq!(twins().await.lines().count(), 1);
    // Engines before 25 make another one; later ones refuse to.
    let one = json!({"Name": "mcp-servers-internal", "Internal": true, "Driver": "bridge"});
    let mut ours = one.clone();
    ours["Labels"] = json!({"hayward.managed": "true"});
    engine.post("/networks/create", &ours).await;
    let (late, stop) = start(&other, order("b-0", &http())).await;
    assert_eq!(twins().await.lines().count(), 1);
    spoken_to(&late).await;
    stop.cancel();
    ended(late).await;
    for (running, stop) in &started {
        spoken_to(running).await;
        stop.cancel();
    }
    join_all(started.into_iter().map(|(running, _)| ended(running))).await;
    // What isn't ours is nobody's to remove, and what is ours isn't given up for it.
    if engine.post("/networks/create", &one).await {
        let refused = docker.start(order("c-0", &http()), CancellationToken::new()).await.unwrap_err();
        assert!(format!("{refused:?}").contains("several of this name"), "{refused:?}");
        assert_eq!(twins().await.lines().count(), 2);
    } else {
        // From 25 on there is no second one.
        let (running, stop) = start(&docker, order("c-0", &http())).await;
        stop.cancel();
        ended(running).await;
    }
    engine.end().await;
}

#[tokio::test]
async fn an_engine_that_breaks_off_has_ended_nothing() {
    let Some(engine) = Engine::start().await else { return };
    let (docker, relay) = engine.relayed("tests");
    let (mut running, _stop) = start(&docker, order("http-0", &http())).await;
    spoken_to(&running).await;
    for _ in 0..2 {
        relay.cut().await;
        assert!(timeout(Duration::ZERO, &mut running.ended).await.is_err());
        spoken_to(&running).await;
    }
    // How it ends is seen still.
    engine.docker(&["kill", "hayward.tests.http-0"]).await;
    assert_eq!(ended(running).await.0, End::Signaled { signal: 9 });
    assert_eq!(docker.list().await.unwrap(), []);
    engine.end().await;
}

#[tokio::test]
async fn containers_are_in_no_network_that_is_the_machines_or_has_a_way_out_against_their_will() {
    let Some(engine) = Engine::start().await else { return };
    let docker = engine.placement("tests");
    // Whoever made it forgot that it is to have no way out.
    engine.docker(&["network", "create", "mcp-servers-internal"]).await;
    let refused = docker.start(order("http-0", &http()), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, PlacementError::Engine(EngineError::Network { .. })), "{refused:?}");
    engine.docker(&["network", "rm", "mcp-servers-internal"]).await;
    engine.docker(&["network", "create", "--internal", "mcp-servers-internal"]).await;
    let (running, stop) = start(&docker, order("http-0", &http())).await;
    spoken_to(&running).await;
    stop.cancel();
    ended(running).await;
    let mut open = http();
    open["network"] = json!("shared");
    for network in ["host", "none"] {
        let docker = engine.placement_in("tests", network);
        let refused = docker.start(order("open-0", &open), CancellationToken::new()).await.unwrap_err();
        assert!(
            matches!(refused, PlacementError::Engine(EngineError::Network { .. })),
            "{network}: {refused:?}"
        );
    }
    assert_eq!(docker.list().await.unwrap(), []);
    engine.end().await;
}

#[tokio::test]
async fn what_no_container_can_be_is_refused_and_an_absent_image_says_so() {
    let Some(engine) = Engine::start().await else { return };
    let docker = engine.placement("tests");
    for spec in [
        json!({"command": ["sh"]}),
        json!({"packageName": "x@1.0.0"}),
        json!({"dockerImage": IMAGE, "transport": "STREAMABLE_HTTP"}),
    ] {
        let refused = docker.start(order("x-0", &spec), CancellationToken::new()).await;
        assert!(matches!(refused, Err(PlacementError::Unfit { .. })), "{spec}: {refused:?}");
    }
    let absent = json!({"dockerImage": "127.0.0.1:1/absent:1"});
    let refused = docker.start(order("x-0", &absent), CancellationToken::new()).await;
    assert!(matches!(refused, Err(PlacementError::Engine(_))), "{refused:?}");
    let (running, _stop) = start(
        &docker,
        order("none-0", &json!({"dockerImage": IMAGE, "command": ["/bin/sh", "-c", "kill -9 $$; :"]})),
    )
    .await;
    ended(running).await;
    let refused = docker
        .start(
            order("none-0", &json!({"dockerImage": IMAGE, "command": ["/absent"]})),
            CancellationToken::new(),
        )
        .await;
    assert!(matches!(refused, Err(PlacementError::Engine(_))), "{refused:?}");
    assert_eq!(docker.list().await.unwrap(), []);
    engine.end().await;
}
