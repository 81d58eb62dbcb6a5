//! F9: servers that lie, flood, are mute, and end.

use hayward_testkit::chaos::{Fault, Gives};
use serde_json::json;

use crate::rig::PATIENCE;
use crate::yard::{Called, Yard};

/// What a message of a server may have, twice, and what the allocator keeps beside: the most that any of them may cost.
const GROWN_KIB_MAX: u64 = (2 * 16 + 4) * 1024;

/// Seconds that a flood may take.
const FLOOD_S: u64 = 30;

fn check(fault: Fault, mark: &str, called: &Called) {
    let is_right = match fault.gives() {
        Gives::Answer => called.is_answer(mark),
        Gives::Error => called.is_error(),
        Gives::Either => called.is_answer(mark) || called.is_error(),
    };
    assert!(is_right, "{fault:?}: {called:?}");
}

/// All that pass, at once and beside calls that nothing is wrong with: each has what is its own.
async fn at_once(yard: &Yard, server: &str) {
    let mut wanted: Vec<Fault> = Fault::PASSING.to_vec();
    wanted.extend([Fault::None; 20]);
    let calls = wanted.iter().enumerate().map(|(n, fault)| async move {
        let mark = format!("{server}{n}");
        check(*fault, &mark, &yard.call(server, *fault, &mark).await);
    });
    futures_util::future::join_all(calls).await;
    yard.answers(server).await;
}

/// Floods and answers without end, one after the other: they cost no memory, and nobody else.
async fn floods(yard: &Yard, (server, neighbour): (&str, &str)) {
    yard.peak_kib();
    let before = yard.resident_kib();
    for fault in [Fault::Deep, Fault::Events, Fault::Large, Fault::Endless] {
        let mark = format!("{server}{fault:?}");
        let (flood, beside) =
            tokio::join!(yard.call(server, fault, &mark), yard.call(neighbour, Fault::Slow, "beside"));
        check(fault, &mark, &flood);
        assert!(beside.is_answer("beside"), "{fault:?}: {beside:?}");
        yard.answers(server).await;
        let grown = yard.peak_kib().saturating_sub(before);
        println!("{server} {fault:?}: {:?}, {grown} KiB more at most", flood.took);
        assert!(grown <= GROWN_KIB_MAX, "{server} {fault:?}: {grown} KiB");
    }
}

#[tokio::test]
async fn f9_a_server_that_lies_costs_the_call_that_it_lies_to_and_no_other() {
    let yard = Yard::new(&["old", "new", "far", "modern"]).await;
    yard.stdio("old", &[]).await;
    yard.stdio("new", &["--modern"]).await;
    let _far = yard.http("far", &[]).await;
    let _modern = yard.http("modern", &["--modern"]).await;
    let servers = ["old", "new", "far", "modern"];
    for server in servers {
        yard.answers(server).await;
    }
    for server in servers {
        at_once(&yard, server).await;
    }
    let endings = yard.endings();
    assert!(endings.len() > 4 * Fault::PASSING.len());
    for (mark, endings) in endings.iter().filter(|(mark, _)| *mark != "well") {
        assert_eq!(endings.len(), 1, "{mark}: {endings:?}");
    }
    // What it offers has changed, and the call that changed it stood. Who changed is not shown, the others are.
    assert!(yard.rig.tools("/servers/old/mcp", &yard.token).await.contains(&"act".to_owned()));
}

#[tokio::test]
async fn f9_a_flood_costs_a_bounded_amount_of_memory_and_nobody_else() {
    let yard = Yard::new(&["near", "far", "beside"]).await;
    // Long enough for a flood to pass on a busy machine: it is what follows it that is looked at.
    yard.stdio_within("near", &[], FLOOD_S).await;
    yard.stdio_within("beside", &[], FLOOD_S).await;
    let _far = yard.http_within("far", &[], FLOOD_S).await;
    for server in ["near", "far", "beside"] {
        yard.answers(server).await;
    }
    floods(&yard, ("near", "beside")).await;
    floods(&yard, ("far", "beside")).await;
}

#[tokio::test]
async fn f9_a_server_that_ends_or_stops_is_started_again_and_its_neighbour_hears_nothing_of_it() {
    let names = Fault::LETHAL.map(|fault| fault.name().to_lowercase());
    let mut servers: Vec<&str> = names.iter().map(String::as_str).collect();
    servers.extend(["beside", "loop", "many"]);
    let yard = Yard::new(&servers).await;
    for name in &names {
        let check = json!({"intervalSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1});
        let spec = json!({"command": [yard.program.path()], "timeoutSeconds": 1, "healthCheck": check});
        yard.rig.declare("servers", name, spec).await;
    }
    yard.stdio("beside", &[]).await;
    yard.rig.declare("servers", "loop", json!({"command": ["sh", "-c", "exit 3"]})).await;
    yard.stdio("many", &["--tools", "100000"]).await;
    for name in names.iter().map(String::as_str).chain(["beside"]) {
        yard.answers(name).await;
    }
    let ends = Fault::LETHAL.iter().zip(&names).map(|(fault, name)| {
        let yard = &yard;
        async move {
            let ended = yard.call(name, *fault, &format!("end{name}")).await;
            assert!(ended.is_error(), "{fault:?}: {ended:?}");
            yard.answers(name).await;
        }
    });
    futures_util::future::join_all(ends).await;
    assert!(yard.call("beside", Fault::None, "still").await.is_answer("still"));
    for name in &names {
        assert_eq!(yard.endings()[&format!("end{name}")].len(), 1, "{name}");
    }
    // Whoever was frozen, or deaf, isn't there beside the one that took its place; the one that ends at once runs another program.
    let started = std::time::Instant::now();
    while yard.program.processes().len() > servers.len() - 1 {
        assert!(started.elapsed() < PATIENCE, "{:?}", yard.program.processes());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // One that ends again and again says why, and is no reason to be busy: its pauses grow (`Backoff`).
    let looped = yard.rig.until("servers/loop", |server| server["status"].to_string().contains('3')).await;
    assert!(looped["status"]["conditions"].to_string().contains(r#""status":"False""#), "{looped}");
    // Of too many tools none is shown rather than some by chance, or the first of them, and the reason is told.
    let shown = yard.rig.tools("/servers/many/mcp", &yard.token).await;
    assert!(shown.len() <= 1_000, "{}", shown.len());
}
